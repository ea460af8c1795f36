"""A gin configuration for preflight: what it may leave out, and grids of it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin

from moe_lite.core.errors import UserError
from moe_lite.core.meshes import AUTO, meshes
from moe_lite.preflight import chips, programs, report
from moe_lite.process import cli, gin_macros

# What a run reads and writes; no shape depends on it.
PLACEHOLDERS = (
  'CHECKPOINT_PATH',
  'EVAL_OUTPUT_DIR',
  'INITIAL_CHECKPOINT_PATH',
  'MIXTURE_OR_TASK_NAME',
  'MODEL_DIR',
)


def configure(argv: Sequence[str]) -> str:
  """Parses gin flags; returns the entry point that they configure."""
  cli.configure(
    argv,
    (programs.TRAIN, programs.EVAL),
    'runs/finetune.gin',
    placeholders=PLACEHOLDERS,
  )
  if gin_macros.is_configured(programs.TRAIN):
    return programs.TRAIN
  return programs.EVAL


def bind(macros: Mapping[str, Any]) -> None:
  """Gives macros values; those that no gin file has are an error."""
  for name, value in macros.items():
    gin_macros.bind(name, repr(value))


def check(
  entry: str, topology: chips.Topology, devices: Sequence[Any], real: bool
) -> list[report.Report]:
  """Reports of a run's programs on a slice, on its mesh or the first that fits.

  Args:
    entry: from `configure`.
    topology: the slice.
    devices: its devices, or as many fake ones.
    real: whether they are the slice's.
  """
  arguments = gin.get_bindings(entry)
  if arguments.get('mesh') != AUTO:
    return _reports(entry, arguments, topology, devices, real)
  reports: list[report.Report] = []
  problems = []
  for mesh, split in meshes(len(devices)):
    tried = {**arguments, 'mesh': mesh, 'fully_sharded': split}
    try:
      reports = _reports(entry, tried, topology, devices, real)
    except UserError as error:
      problems.append(f'{mesh}: {error}')
      continue
    if all(r.fits for r in reports):
      return reports
  if not reports:
    raise UserError(
      f"MESH = 'auto': no mesh of {topology.name} will do.\n"
      + '\n'.join(problems)
    )
  return reports


def _reports(entry, arguments, topology, devices, real):
  return [
    report.report(program, topology, real)
    for program in programs.programs(entry, arguments, devices)
  ]


def grid(settings: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
  """Every combination of the values of macros."""
  for values in itertools.product(*settings.values()):
    yield dict(zip(settings, values, strict=True))
