"""What is ablated: a grid of gin files and bindings, and what it expands to."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.core.errors import UserError
from moe_lite.evaluation.run_names import FROZEN
from moe_lite.sweep.words import Composed, Words, compose

# What an axis may be: values of the macro that it is named after, or labels
# with words.
Axis = Sequence[Any] | Mapping[str, Words]

# The method of the base alone: no adapter stands anywhere.
_NO_METHOD = 'methods/full.gin'
# What the grid itself decides, for every run.
_OWN = ('MODEL_DIR', 'SEED', 'CHECKPOINT_PATH', 'EVAL_OUTPUT_DIR')


@dataclasses.dataclass(frozen=True)
class Grid:
  """An ablation, as gin/ablations/ configures it.

  Attributes:
    model: files and bindings of the base.
    axes: the choices of each axis, by its name. Every combination of choices is
      a variant. A list holds values of the macro that the axis is named after;
      a dict holds the files and bindings of each choice by its label.
    train: files and bindings of training, beside the model and the choices.
    evaluate: files and bindings of the evaluation that the table shows.
    validate: files and bindings of the evaluation that chooses among the values
      of the search.
    search: the values of each searched macro. Each variant is trained with
      every combination of values and the first seed, and goes on with the one
      that has the best average under `validate`. A single combination is taken
      without a search.
    seeds: the seeds; each variant has one run for each of them.
    frozen: whether the base alone is evaluated, too.
  """

  model: Words
  axes: Mapping[str, Axis]
  train: Words
  evaluate: Words
  validate: Words = ()
  search: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
  seeds: Sequence[int] = (0,)
  frozen: bool = True


@dataclasses.dataclass(frozen=True)
class Choice:
  """Values of the searched macros.

  Attributes:
    name: 'LEARNING_RATE=0.03'; '' where nothing is searched.
    values: the value of each macro.
  """

  name: str
  values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of the table: one choice of every axis.

  Attributes:
    name: the labels of the choices, 'MoV, NUM_EXPERTS=10'.
    files: the gin files of the choices. They stand between those of the model
      and those of training.
    bindings: the bindings of the choices. They replace all others. '{SEED}' in
      a value is the seed of the run.
    is_trained: False for the frozen base.
  """

  name: str
  files: tuple[str, ...]
  bindings: Mapping[str, str]
  is_trained: bool = True


def variants(grid: Grid) -> list[Variant]:
  """Combines the choices of all axes; those of the first axis change slowest.

  Raises:
    UserError: if there are no axes, if an axis binds what the grid decides, or
      if two variants would share a folder.
  """
  if not isinstance(grid.axes, Mapping) or not grid.axes:
    raise UserError(
      'sweep.Grid.axes is empty. Give AXES, a dict from names to choices, as '
      'the files of gin/ablations/ do.'
    )
  axes = [_labelled(name, axis) for name, axis in grid.axes.items()]
  found = []
  if grid.frozen:
    found.append(Variant(FROZEN, (_NO_METHOD,), {}, is_trained=False))
  for combination in itertools.product(*axes):
    words = sum((composed for _, composed in combination), Composed())
    _check_free(words.bindings, [*_OWN, *grid.search])
    name = ', '.join(label for label, _ in combination)
    found.append(Variant(name, words.files, words.bindings))
  _check_distinct(found)
  return found


def choices(grid: Grid) -> list[Choice]:
  """Combines the values of the search.

  Without a search there is one choice, which has no values.

  Raises:
    UserError: if the search is not a dict of lists.
  """
  if not isinstance(grid.search, Mapping) or not all(
    isinstance(values, list | tuple) and values
    for values in grid.search.values()
  ):
    raise UserError(
      f'sweep.Grid.search = {grid.search!r} must be a dict from macros to '
      "lists of values, such as {'LEARNING_RATE': [0.01, 0.03]}."
    )
  return [
    Choice(
      ','.join(f'{name}={value}' for name, value in combination),
      dict(combination),
    )
    for combination in itertools.product(
      *([(n, v) for v in values] for n, values in grid.search.items())
    )
  ]


def check_seeds(seeds: Sequence[int]) -> None:
  """Raises UserError unless these are distinct whole numbers from 0 on."""
  is_list = isinstance(seeds, list | tuple) and bool(seeds)
  if not is_list or not all(type(s) is int and s >= 0 for s in seeds):
    raise UserError(f'SEEDS = {seeds!r} must be a list such as [0, 1, 2].')
  if len(set(seeds)) < len(seeds):
    raise UserError(f'SEEDS = {seeds!r} has a seed twice.')


def folder_name(name: str) -> str:
  """A name as a folder's: 'MoV, NUM_EXPERTS=10' to 'MoV_NUM_EXPERTS=10'."""
  return re.sub(r'[^\w.=+-]+', '_', name, flags=re.ASCII).strip('_.')


def _labelled(name: str, axis: Axis) -> list[tuple[str, Composed]]:
  """The choices of an axis: the label and the words of each."""
  if isinstance(axis, Mapping) and axis:
    return [(label, compose(words)) for label, words in axis.items()]
  if isinstance(axis, list | tuple) and axis:
    return [(f'{name}={v}', compose({name: v})) for v in axis]
  raise UserError(
    f'Axis {name!r} is {axis!r}: give a list of values of a macro of that '
    'name, or a dict from labels to gin files and bindings.'
  )


def _check_free(bindings: Mapping[str, str], taken: Sequence[str]) -> None:
  for name in bindings:
    if name in taken:
      raise UserError(
        f'An axis binds {name}, which the grid itself gives to every run. '
        'Seeds belong into SEEDS, and values to search into sweep.Grid.search.'
      )


def _check_distinct(found: Sequence[Variant]) -> None:
  seen: dict[str, str] = {}
  for variant in found:
    other = seen.setdefault(folder_name(variant.name), variant.name)
    if other is not variant.name:
      raise UserError(
        f'Two variants, {other!r} and {variant.name!r}, would share one '
        'folder: give them labels that differ in more than punctuation.'
      )
