"""The runs of a grid: their folders and exact commands.

ROOT/VARIANT/CHOICE/seed_0/             a run folder; see `run_folder`
ROOT/VARIANT/CHOICE/seed_0/validation/  results for the search
ROOT/VARIANT/CHOICE/seed_0/eval/        results for the table
"""

import dataclasses
from collections.abc import Mapping, Sequence

from moe_lite.core.errors import UserError
from moe_lite.process import shell
from moe_lite.sweep.grid import (
  Choice,
  Grid,
  Variant,
  check_seeds,
  choices,
  folder_name,
  variants,
)
from moe_lite.sweep.words import Composed, Words, compose
from moe_lite.training import run_folder

TRAIN = 'train'
VALIDATION = 'validation'
EVALUATION = 'eval'
# Stands for the seed of the run in a binding of an axis. So a run can begin
# with the adapters of another sweep's run: 'runs/first/IA3/seed_{SEED}'.
SEED = '{SEED}'


@dataclasses.dataclass(frozen=True)
class Command:
  """A process of a run.

  Attributes:
    kind: TRAIN, VALIDATION or EVALUATION. Its log bears that name.
    module: the module of the package that is run.
    flags: the flags of the process.
    output: the folder that the process writes.
  """

  kind: str
  module: str
  flags: tuple[str, ...]
  output: str

  def line(self) -> str:
    """The command as a line for a shell."""
    return shell.line(['python', '-m', self.module, *self.flags])


@dataclasses.dataclass(frozen=True)
class Run:
  """A variant with one choice of the search and one seed.

  Attributes:
    name: the run in messages.
    variant: the name of the variant.
    choice: the choice of the search.
    seed: the seed of training.
    folder: the folder of the run.
    train: how the run is trained; None for the frozen base.
    validation: how the run is measured for the search.
    evaluation: how the run is measured for the table.
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
  """A variant with one choice of the search, for all seeds.

  Attributes:
    name: the setting in messages.
    variant: the variant of the grid.
    choice: the choice of the search.
    runs: one run for each seed.
  """

  name: str
  variant: Variant
  choice: Choice
  runs: tuple[Run, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
  """Everything that a grid may have to run.

  Attributes:
    root: the folder of all runs.
    settings: the settings of each variant, one for each choice of the search.
  """

  root: str
  settings: dict[str, tuple[Setting, ...]]

  @property
  def searches(self) -> bool:
    """Whether a variant has several choices."""
    return any(len(s) > 1 for s in self.settings.values())

  def runs(self) -> list[Run]:
    """All runs, variant by variant and choice by choice."""
    return [r for ss in self.settings.values() for s in ss for r in s.runs]


def expand(grid: Grid, root: str, flags: Sequence[str] = ()) -> Plan:
  """Plans a grid.

  Args:
    grid: the grid to expand.
    root: the folder of all runs.
    flags: flags for every command, beside those of the grid.

  Raises:
    UserError: if the grid is mistaken.
  """
  check_seeds(grid.seeds)
  all_choices = choices(grid)
  if len(all_choices) > 1 and not grid.validate:
    raise UserError(
      f'sweep.Grid.search has {len(all_choices)} choices, but sweep.Grid.'
      'validate is empty: nothing says how to choose.'
    )
  root = root.rstrip('/')
  settings = {}
  for variant in variants(grid):
    of_variant = all_choices if variant.is_trained else [Choice('', {})]
    settings[variant.name] = tuple(
      _setting(grid, variant, choice, root, tuple(flags))
      for choice in of_variant
    )
  return Plan(root, settings)


def _setting(
  grid: Grid,
  variant: Variant,
  choice: Choice,
  root: str,
  flags: tuple[str, ...],
) -> Setting:
  parts = [folder_name(variant.name), folder_name(choice.name)]
  folder = '/'.join([root, *filter(None, parts)])
  name = ', '.join(filter(None, [variant.name, choice.name]))
  seeds = grid.seeds if variant.is_trained else [0]
  return Setting(
    name,
    variant,
    choice,
    tuple(
      _run(grid, variant, choice, seed, name, folder, flags) for seed in seeds
    ),
  )


def _of_seed(bindings: Mapping[str, str], seed: int) -> dict[str, str]:
  """The bindings of an axis in a run with this seed."""
  return {n: value.replace(SEED, str(seed)) for n, value in bindings.items()}


def _run(
  grid: Grid,
  variant: Variant,
  choice: Choice,
  seed: int,
  name: str,
  folder: str,
  flags: tuple[str, ...],
) -> Run:
  network = compose(grid.model) + Composed(variant.files)
  train = None
  if variant.is_trained:
    folder, name = f'{folder}/seed_{seed}', f'{name}, seed {seed}'
    composed = (
      network
      + compose(grid.train)
      + Composed((), _of_seed(variant.bindings, seed))
      + compose(choice.values)
      + compose({'SEED': seed, 'MODEL_DIR': folder})
    )
    train = Command(
      TRAIN, 'moe_lite.train', (*composed.flags(), *flags), folder
    )
    # The configuration that the run writes has its network and its method.
    beginning = Composed((f'{folder}/{run_folder.CONFIG}',))
    checkpoint = folder
  else:
    beginning, checkpoint = network, 'base'

  def measure(kind: str, words: Words) -> Command:
    output = f'{folder}/{kind}'
    places = {'CHECKPOINT_PATH': checkpoint, 'EVAL_OUTPUT_DIR': output}
    composed = beginning + compose(words) + compose(places)
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
