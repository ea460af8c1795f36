"""The runs of a grid: their folders and exact commands.

ROOT/VARIANT/CHOICE/seed_0/             a run folder; see `run_folder`
ROOT/VARIANT/CHOICE/seed_0/validation/  results for the search
ROOT/VARIANT/CHOICE/seed_0/eval/        results for the table
"""

import dataclasses
import shlex
import sys
from collections.abc import Sequence

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.evaluation import results
from moe_lite.sweep import grid as grids
from moe_lite.sweep.grid import Choice, Composed, Grid, Variant
from moe_lite.training import run_folder

TRAIN = 'train'
VALIDATION = 'validation'
EVALUATION = 'eval'
# How a module of the package is run.
PYTHON = (sys.executable, '-m')


@dataclasses.dataclass(frozen=True)
class Command:
  """A process of a run.

  Attributes:
    kind: TRAIN, VALIDATION or EVALUATION; also the name of its log.
    module: that is run.
    flags: of it.
    output: the folder that it writes.
  """

  kind: str
  module: str
  flags: tuple[str, ...]
  output: str

  def words(self) -> list[str]:
    return [*PYTHON, self.module, *self.flags]

  def line(self) -> str:
    """For a shell."""
    return shlex.join(['python', '-m', self.module, *self.flags])


@dataclasses.dataclass(frozen=True)
class Run:
  """A variant with one choice of the search and one seed.

  Attributes:
    name: for messages.
    variant: its name.
    choice: of the search.
    seed: of the run.
    folder: of the run.
    train: how it is trained; None for the frozen base.
    validation: how it is measured for the search.
    evaluation: how it is measured for the table.
  """

  name: str
  variant: str
  choice: Choice
  seed: int
  folder: str
  train: Command | None
  validation: Command
  evaluation: Command


@dataclasses.dataclass(frozen=True)
class Setting:
  """What all seeds of a variant and a choice share.

  Attributes:
    name: for messages, and its folder under the root.
    variant: of the grid.
    choice: of the search.
    runs: one a seed.
  """

  name: str
  variant: Variant
  choice: Choice
  runs: tuple[Run, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
  """Everything that a grid may have to run.

  Attributes:
    root: its folder.
    settings: by variant, one a choice of the search.
    searches: whether there is a choice to make.
  """

  root: str
  settings: dict[str, tuple[Setting, ...]]

  @property
  def searches(self) -> bool:
    return any(len(s) > 1 for s in self.settings.values())

  def runs(self) -> list[Run]:
    return [r for ss in self.settings.values() for s in ss for r in s.runs]


def expand(grid: Grid, root: str, flags: Sequence[str] = ()) -> Plan:
  """Plans a grid.

  Args:
    grid: to expand.
    root: the folder of all runs.
    flags: for every command, beside those of the grid.

  Raises:
    UserError: if the grid is not one.
  """
  grids.check_seeds(grid.seeds)
  choices = grids.choices(grid)
  if len(choices) > 1 and not grid.validate:
    raise UserError(
      f'sweep.Grid.search has {len(choices)} choices, but sweep.Grid.'
      'validate is empty: nothing says how to choose.'
    )
  settings = {}
  for variant in grids.variants(grid):
    of_variant = choices if variant.is_trained else [Choice('', {})]
    seeds = grid.seeds if variant.is_trained else [0]
    settings[variant.name] = tuple(
      _setting(grid, variant, choice, seeds, root, tuple(flags))
      for choice in of_variant
    )
  return Plan(root.rstrip('/'), settings)


def _setting(
  grid: Grid,
  variant: Variant,
  choice: Choice,
  seeds: Sequence[int],
  root: str,
  flags: tuple[str, ...],
) -> Setting:
  parts = [grids.folder_name(variant.name), grids.folder_name(choice.name)]
  folder = '/'.join([root.rstrip('/'), *filter(None, parts)])
  name = ', '.join(filter(None, [variant.name, choice.name]))
  runs = tuple(
    _run(grid, variant, choice, seed, name, folder, flags) for seed in seeds
  )
  return Setting(name, variant, choice, runs)


def _run(
  grid: Grid,
  variant: Variant,
  choice: Choice,
  seed: int,
  name: str,
  folder: str,
  flags: tuple[str, ...],
) -> Run:
  model = grids.compose(grid.model)
  method = Composed(variant.files)
  train = None
  if variant.is_trained:
    folder, name = f'{folder}/seed_{seed}', f'{name}, seed {seed}'
    composed = (
      model
      + method
      + grids.compose(grid.train)
      + Composed((), variant.bindings)
      + grids.compose(choice.values)
      + grids.compose({'SEED': seed, 'MODEL_DIR': folder})
    )
    train = Command(
      TRAIN, 'moe_lite.train', (*composed.flags(), *flags), folder
    )
    # The run's own configuration makes its network and method again.
    beginning = Composed((f'{folder}/{run_folder.CONFIG}',))
    checkpoint = folder
  else:
    beginning, checkpoint = model + method, 'base'

  def measure(kind: str, words: grids.Words) -> Command:
    output = f'{folder}/{kind}'
    composed = (
      beginning
      + grids.compose(words)
      + grids.compose(
        {'CHECKPOINT_PATH': checkpoint, 'EVAL_OUTPUT_DIR': output}
      )
    )
    return Command(kind, 'moe_lite.eval', (*composed.flags(), *flags), output)

  return Run(
    name=name,
    variant=variant.name,
    choice=choice,
    seed=seed,
    folder=folder,
    train=train,
    validation=measure(VALIDATION, grid.validate),
    evaluation=measure(EVALUATION, grid.evaluate),
  )


def result_file(command: Command) -> epath.Path:
  """What an evaluation writes."""
  return epath.Path(command.output) / results.JSON
