"""Which grid a folder belongs to: that grid may grow, but not change."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.core import json_files
from moe_lite.core.errors import UserError
from moe_lite.core.moved import MOVED
from moe_lite.sweep.expansion import Plan

GRID = 'grid.json'
_IMPORT = re.compile(r'(?:from ([\w.]+) )?import ([\w.]+)(.*)')


def claim(plan: Plan, configurations: Mapping[str, str]) -> None:
  """Writes `grid.json`: the commands of every run, and all configurations.

  Seeds, choices and variants may be added to the grid of a folder. A run that
  has begun must mean what it meant, so that a table never mixes two
  experiments.

  Args:
    plan: the plan of the sweep.
    configurations: see `checking.Checked`.

  Raises:
    UserError: if the folder belongs to another grid.
  """
  root = epath.Path(plan.root)
  path = root / GRID
  runs = {
    run.folder.removeprefix(f'{plan.root}/'): {
      command.kind: command.line()
      for command in (run.train, run.validation, run.evaluation)
      if command is not None
    }
    for run in plan.runs()
  }
  content = {'runs': runs, 'configurations': configurations}
  if path.exists():
    before = json_files.read(path)
    if not all(
      isinstance(before.get(name), dict) for name in ('runs', 'configurations')
    ):
      raise UserError(f'{path} is damaged: it is not the grid of a sweep.')
    begun = [folder for folder in before['runs'] if (root / folder).exists()]
    if begun:
      _check(plan.root, before, content, begun)
  root.mkdir(parents=True, exist_ok=True)
  json_files.write(path, content)


def _check(
  root: str,
  before: Mapping[str, Mapping[str, Any]],
  now: Mapping[str, Mapping[str, Any]],
  begun: Sequence[str],
) -> None:
  advice = (
    'Name another folder with --to, or remove this one; seeds, choices and '
    'variants may be added to it.'
  )
  for name, text in before['configurations'].items():
    old = _with_new_names(text)
    new = _with_new_names(now['configurations'].get(name, text))
    if new != old:
      raise UserError(
        f'{root} holds another grid. For {name!r}, lines with - are those of '
        f'the folder, and lines with + those of this command:\n'
        f'{_changes(old, new)}\n{advice}'
      )
  if gone := [folder for folder in begun if folder not in now['runs']]:
    raise UserError(
      f'{root} holds another grid: this command would not run {len(gone)} of '
      f'its runs, such as {gone[0]}. {advice}'
    )


def _with_new_names(text: str) -> str:
  """A configuration that imports modules by their names of today.

  An earlier version may have written it when they had other names.
  """
  imports, others = [], []
  for line in text.splitlines():
    found = _IMPORT.fullmatch(line)
    if found:
      name = '.'.join(filter(None, (found[1], found[2])))
      imports.append(f'import {MOVED.get(name, name)}{found[3]}')
    else:
      others.append(line)
  return '\n'.join([*sorted(imports), *others])


def _changes(old: str, new: str, most: int = 8) -> str:
  """The lines that differ, indented."""
  lines = [
    line
    for line in difflib.ndiff(old.splitlines(), new.splitlines())
    if line[0] in '-+'
  ]
  more = [f'... and {len(lines) - most} more'] if len(lines) > most else []
  return '\n'.join(f'  {line}' for line in [*lines[:most], *more])
