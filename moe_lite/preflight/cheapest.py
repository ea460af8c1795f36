"""The cheapest way to run a configuration on a slice."""

import ast
import dataclasses
from collections.abc import Sequence
from typing import Any

import gin

from moe_lite.core import progress
from moe_lite.core.errors import UserError
from moe_lite.core.meshes import meshes
from moe_lite.preflight import chips, configuration, programs, report
from moe_lite.t5.config import REMAT

# Cheapest first: what is recomputed costs operations.


def sweep(
  entry: str,
  topology: chips.Topology,
  devices: Sequence[Any],
  real: bool,
  grids: Sequence[str] = (),
) -> list[report.Report]:
  """Tries meshes, microbatches and remat policies on a slice.

  On a mesh, the fewest microbatches under which the step fits are taken, and
  the first remat policy that fits at all: what comes after can only cost more.

  Args:
    entry: from `configuration.configure`.
    topology: the slice.
    devices: its devices, or as many fake ones.
    real: whether they are the slice's.
    grids: 'MACRO=V,V' to try as well.

  Returns:
    The report of the cheapest, by chip-seconds a row at least; the last one
    that did not fit where none does.

  Raises:
    UserError: if no mesh can be tried at all.
  """
  best: list[report.Report] = []
  failed: list[report.Report] = []
  problem = None
  for macros in configuration.grid(_parse(grids)):
    configuration.bind(macros)
    for mesh, split in meshes(len(devices)):
      try:
        setting, reports = _on_mesh(entry, topology, devices, real, mesh, split)
      except UserError as error:  # Such as a mesh that does not divide heads.
        problem = error
        continue
      if not all(r.fits for r in reports):
        failed = reports
        continue
      progress.say(
        f'{topology.name} {_words({**macros, **setting})}: '
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
  entry: str,
  topology: chips.Topology,
  devices: Sequence[Any],
  real: bool,
  mesh: tuple[int, int],
  split: bool,
) -> tuple[dict[str, Any], list[report.Report]]:
  """The first setting that fits, or the last that was tried."""
  last: tuple[dict[str, Any], list[report.Report]] = {}, []
  trains = entry == programs.TRAIN
  setting: dict[str, Any] = {'MESH': mesh, 'FULLY_SHARDED': split}
  for remat in REMAT if trains else REMAT[:1]:
    if trains:
      setting['REMAT'] = remat
    for parts in _microbatches(mesh[0]) if trains else (1,):
      if trains:
        setting['MICROBATCHES'] = parts
      configuration.bind(setting)
      reports = configuration.check(entry, topology, devices, real)
      last = dict(setting), reports
      if all(r.fits for r in reports):
        return last
      if _holds_too_much(reports):
        return last
  return last


def _microbatches(data: int) -> list[int]:
  batch_size = gin.query_parameter('%BATCH_SIZE')
  rows = batch_size // data
  if batch_size % data:
    return [1]
  return [n for n in range(1, rows + 1) if rows % n == 0 and n & (n - 1) == 0]


def _holds_too_much(reports: Sequence[report.Report]) -> bool:
  """Whether parameters alone do not fit: no setting changes that."""
  names = ('base', 'trainable', 'optimizer')
  return any(sum(r.bytes.get(n) or 0 for n in names) > r.hbm for r in reports)


def _cost(reports: Sequence[report.Report]) -> float:
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
