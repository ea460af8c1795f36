"""The cheapest way to run a configuration on a slice."""

import ast
import dataclasses
from collections.abc import Sequence
from typing import Any

import gin

from moe_lite.core import progress
from moe_lite.core.errors import UserError
from moe_lite.core.meshes import meshes
from moe_lite.preflight import configuration, programs
from moe_lite.preflight.chips import Slice
from moe_lite.preflight.report import Report
from moe_lite.t5.config import REMAT


def sweep(entry: str, on: Slice, grids: Sequence[str] = ()) -> list[Report]:
  """Tries meshes, microbatches and remat policies on a slice.

  On each mesh, the first remat policy under which the step fits is taken, and
  with it the fewest microbatches. The policies and numbers that come after can
  only cost more.

  Args:
    entry: what `configuration.configure` returned.
    on: the slice.
    grids: values of macros to try as well, each as 'MACRO=V,V'.

  Returns:
    The reports of the cheapest way to run, by the least chip-seconds that a row
    takes; where nothing fits, those of the last attempt.

  Raises:
    UserError: if the step cannot be made for any mesh.
  """
  best: list[Report] = []
  failed: list[Report] = []
  problem = None
  for macros in configuration.grid(_parse(grids)):
    configuration.bind(macros)
    for mesh, split in meshes(len(on.devices)):
      try:
        setting, reports = _on_mesh(entry, on, mesh, split)
      except UserError as error:  # Such as a mesh that does not divide heads.
        problem = error
        continue
      if not all(r.fits for r in reports):
        failed = reports
        continue
      progress.say(
        f'{on.topology.name} {_words({**macros, **setting})}: '
        f'{_cost(reports) * 1000:.2f} chip-ms a row at least'
      )
      if not best or _cost(reports) < _cost(best):
        best = [
          dataclasses.replace(r, settings={**macros, **setting})
          for r in reports
        ]
  if problem and not best and not failed:
    raise problem
  return best or failed


def _on_mesh(
  entry: str, on: Slice, mesh: tuple[int, int], split: bool
) -> tuple[dict[str, Any], list[Report]]:
  """The first setting that fits on a mesh, or the last that was tried."""
  last: tuple[dict[str, Any], list[Report]] = {}, []
  trains = entry == programs.TRAIN
  setting: dict[str, Any] = {'MESH': mesh, 'FULLY_SHARDED': split}
  # The policy that costs the fewest operations is listed first.
  for remat in REMAT if trains else REMAT[:1]:
    if trains:
      setting['REMAT'] = remat
    for parts in _microbatches(mesh[0]) if trains else (1,):
      if trains:
        setting['MICROBATCHES'] = parts
      configuration.bind(setting)
      reports = configuration.check(entry, on)
      last = dict(setting), reports
      if all(r.fits for r in reports):
        return last
      if _holds_too_much(reports):
        return last
  return last


def _microbatches(data: int) -> list[int]:
  """The numbers of microbatches to try on a data axis, fewest first."""
  batch_size = gin.query_parameter('%BATCH_SIZE')
  rows = batch_size // data
  if batch_size % data:
    return [1]
  return [n for n in range(1, rows + 1) if rows % n == 0 and n & (n - 1) == 0]


def _holds_too_much(reports: Sequence[Report]) -> bool:
  """Whether parameters alone do not fit, which no setting can change."""
  names = ('base', 'trainable', 'optimizer')
  return any(sum(r.bytes.get(n) or 0 for n in names) > r.hbm for r in reports)


def _cost(reports: Sequence[Report]) -> float:
  return sum(r.chip_seconds or 0.0 for r in reports)


def _parse(grids: Sequence[str]) -> dict[str, Sequence[Any]]:
  settings = {}
  for text in grids:
    name, equals, values = text.partition('=')
    try:
      settings[name] = ast.literal_eval(f'[{values}]')
    except (SyntaxError, ValueError) as error:
      raise UserError(
        f'--grid={text}: give MACRO=VALUE,VALUE, strings in quotes.'
      ) from error
    if not equals or not settings[name]:
      raise UserError(f'--grid={text}: give MACRO=VALUE,VALUE.')
  return settings


def _words(setting: dict[str, Any]) -> str:
  return ', '.join(f'{name} = {value}' for name, value in setting.items())
