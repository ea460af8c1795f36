"""A gin configuration for preflight: what it may leave out, and grids of it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin

from moe_lite.core.errors import UserError
from moe_lite.core.meshes import AUTO, meshes
from moe_lite.preflight import programs, report
from moe_lite.preflight.chips import Slice
from moe_lite.process import cli, gin_macros

# What a run reads and writes. No shape depends on it.
PLACEHOLDERS = (
  'CHECKPOINT_PATH',
  'EVAL_OUTPUT_DIR',
  'INFER_OUTPUT_DIR',
  'INITIAL_CHECKPOINT_PATH',
  'MIXTURE_OR_TASK_NAME',
  'MODEL_DIR',
)


def configure(argv: Sequence[str]) -> str:
  """Parses gin flags; returns the entry point that they configure."""
  cli.configure(
    argv,
    (programs.TRAIN, programs.EVAL, programs.INFER),
    'runs/finetune.gin',
    placeholders=PLACEHOLDERS,
  )
  entries = (programs.TRAIN, programs.EVAL, programs.INFER)
  return next(name for name in entries if gin_macros.is_configured(name))


def bind(macros: Mapping[str, Any]) -> None:
  """Gives values to macros.

  Raises:
    UserError: if no gin file has one of the macros.
  """
  for name, value in macros.items():
    gin_macros.bind(name, repr(value))


def check(entry: str, on: Slice) -> list[report.Report]:
  """Compiles the programs of a run for a slice.

  Where the run leaves the mesh to be chosen, that is the first mesh on which
  all programs fit.

  Args:
    entry: what `configure` returned.
    on: the slice.

  Returns:
    A report for each program; of the last mesh that was tried, where they fit
    on none.

  Raises:
    UserError: if the programs cannot be made for any mesh.
  """
  arguments = gin.get_bindings(entry)
  if arguments.get('mesh') != AUTO:
    return _reports(entry, arguments, on)
  reports: list[report.Report] = []
  problems = []
  for mesh, split in meshes(len(on.devices)):
    tried = {**arguments, 'mesh': mesh, 'fully_sharded': split}
    try:
      reports = _reports(entry, tried, on)
    except UserError as error:
      problems.append(f'{mesh}: {error}')
      continue
    if all(r.fits for r in reports):
      return reports
  if not reports:
    raise UserError(
      f"MESH = 'auto': no mesh of {on.topology.name} will do.\n"
      + '\n'.join(problems)
    )
  return reports


def grid(settings: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
  """Yields every combination of the values of macros."""
  for values in itertools.product(*settings.values()):
    yield dict(zip(settings, values, strict=True))


def _reports(
  entry: str, arguments: Mapping[str, Any], on: Slice
) -> list[report.Report]:
  return [
    report.report(program, on)
    for program in programs.programs(entry, arguments, on.devices)
  ]
