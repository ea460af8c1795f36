"""Whose folder it is: one grid's, which may grow and not otherwise change."""

import difflib
import json

from etils import epath

from moe_lite import run_folder
from moe_lite.errors import UserError
from moe_lite.sweeps.checking import Checked
from moe_lite.sweeps.plan import Plan

GRID = 'grid.json'


def claim(plan: Plan, checked: Checked) -> None:
  """Writes `grid.json`: every run's commands, and all configurations.

  Seeds, choices and variants may be added to a folder's grid. What is there
  must mean what it meant, so that a table is never of two experiments.

  Raises:
    UserError: if the folder is of another grid.
  """
  path = epath.Path(plan.root) / GRID
  runs = {run.name: commands(run) for run in plan.runs()}
  if path.exists():
    before = json.loads(path.read_text())
    _check(plan.root, before, checked.configurations, runs)
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {'runs': runs, 'configurations': checked.configurations}
  run_folder.replace_text(path, json.dumps(content, indent=1) + '\n')


def commands(run) -> list[str]:
  """A run's command lines, but that for the search."""
  made = [run.train, run.evaluation]
  return [command.line() for command in made if command is not None]


def _check(root: str, before: dict, configurations: dict, runs: dict) -> None:
  advice = (
    'Name another folder with --to, or remove this one; seeds, choices and '
    'variants may be added to it.'
  )
  for name, old in before['configurations'].items():
    new = configurations.get(name)
    if new is not None and new != old:
      raise UserError(
        f'{root} holds another grid. Of {name!r} it has -, this command '
        f'+:\n{_changes(old, new)}\n{advice}'
      )
  if gone := [name for name in before['runs'] if name not in runs]:
    raise UserError(
      f'{root} holds another grid: {len(gone)} of its runs are none of this '
      f'one, such as {gone[0]!r}. {advice}'
    )


def _changes(old: str, new: str, most: int = 8) -> str:
  lines = [
    line
    for line in difflib.ndiff(old.splitlines(), new.splitlines())
    if line[0] in '-+'
  ]
  more = [f'... and {len(lines) - most} more'] if len(lines) > most else []
  return '\n'.join(f'  {line}' for line in [*lines[:most], *more])
