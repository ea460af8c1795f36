"""What is ablated: a grid of gin files and bindings, and what it expands to."""

import ast
import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.core.errors import UserError
from moe_lite.evaluation.comparison import FROZEN

# Files and bindings in the order of a command line: 'methods/mov.gin',
# 'NUM_EXPERTS = 10', {'NUM_EXPERTS': 10}, or a list of these.
Words = str | Mapping[str, Any] | Sequence[Any]
# What an axis may be: values of the macro that it is named after, or labels
# with words.
Axis = Sequence[Any] | Mapping[str, Words]

# The base as it is: no method stands anywhere.
_NO_METHOD = 'methods/full.gin'
_BINDING = re.compile(r'\s*([\w./]+)\s*=(?!=)(.*)', re.DOTALL)
# What a grid decides itself, for every run.
_OWN = ('MODEL_DIR', 'SEED', 'CHECKPOINT_PATH', 'EVAL_OUTPUT_DIR')


@dataclasses.dataclass(frozen=True)
class Grid:
  """An ablation, as gin/ablations/ configures it.

  Attributes:
    model: files and bindings of the base.
    axes: name to choices; every combination of choices is a variant. A list
      holds values of the macro that the axis is named after; a dict holds, by
      label, the files and bindings of each choice.
    train: files and bindings of training, beside the model and the choices.
    evaluate: files and bindings of evaluation, for the table.
    validate: the same for choosing among the search's values.
    search: macro to values. Each variant is trained with every combination
      of values and the first seed, and goes on with the one of the best
      average under `validate`. A single combination is taken as it is.
    seeds: one run of each variant for each.
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
class Composed:
  """Words as flags: gin files in order, and bindings by name.

  Attributes:
    files: of `--gin_file`.
    bindings: name to value, as gin writes it; a later one replaces.
  """

  files: tuple[str, ...] = ()
  bindings: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __add__(self, other: 'Composed') -> 'Composed':
    return Composed(
      self.files + other.files, {**self.bindings, **other.bindings}
    )

  def flags(self) -> list[str]:
    return [
      *(f'--gin_file={file}' for file in self.files),
      *(f'--gin.{name}={value}' for name, value in self.bindings.items()),
    ]


@dataclasses.dataclass(frozen=True)
class Choice:
  """Values of the searched macros.

  Attributes:
    name: 'LEARNING_RATE=0.03'; '' where nothing is searched.
    values: of each macro.
  """

  name: str
  values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of the table: one choice of every axis.

  Attributes:
    name: of the labels, 'MoV, NUM_EXPERTS=10'.
    files: of the choices; they stand between the model and the training.
    bindings: of the choices; they replace those of all others.
    is_trained: False for the frozen base.
  """

  name: str
  files: tuple[str, ...]
  bindings: Mapping[str, str]
  is_trained: bool = True


def compose(words: Words) -> Composed:
  """Words as flags.

  Raises:
    UserError: for what is neither a gin file nor a binding.
  """
  if isinstance(words, str):
    if words.endswith('.gin'):
      return Composed((words,))
    found = _BINDING.fullmatch(words)
    if not found:
      raise UserError(
        f'{words!r} is neither a gin file nor a binding: write '
        "'methods/mov.gin' or 'NUM_EXPERTS = 10'."
      )
    return Composed((), {found[1]: found[2].strip()})
  if isinstance(words, Mapping):
    return Composed((), {n: literal(n, value) for n, value in words.items()})
  if not isinstance(words, Sequence):
    raise UserError(
      f'{words!r} is neither a gin file nor a binding, nor a list of them.'
    )
  return sum(map(compose, words), Composed())


def literal(name: str, value: Any) -> str:
  """A value as gin reads it.

  Raises:
    UserError: for what has no such form, as what @ refers to.
  """
  text = repr(value)
  try:
    ast.literal_eval(text)
  except (SyntaxError, ValueError):
    raise UserError(
      f'{name}: {text} is no plain value. What refers to a function is given '
      f'as a string, such as "{name} = @routing.TopKRouter".'
    ) from None
  return text


def variants(grid: Grid) -> list[Variant]:
  """Every combination of the axes' choices, the first axis slowest.

  Raises:
    UserError: if there is none, or two have one name.
  """
  if not isinstance(grid.axes, Mapping) or not grid.axes:
    raise UserError(
      'sweep.Grid.axes is empty. Give AXES, a dict from names to choices, as '
      'the files of gin/ablations/ do.'
    )
  axes = [_choices(name, axis) for name, axis in grid.axes.items()]
  found = []
  if grid.frozen:
    found.append(Variant(FROZEN, (_NO_METHOD,), {}, is_trained=False))
  for combination in itertools.product(*axes):
    words = sum((composed for _, composed in combination), Composed())
    _check_free(words.bindings, [*_OWN, *grid.search])
    name = ', '.join(label for label, _ in combination)
    found.append(Variant(name, words.files, words.bindings))
  seen: dict[str, str] = {}
  for variant in found:
    other = seen.setdefault(folder_name(variant.name), variant.name)
    if other is not variant.name:
      raise UserError(
        f'Two variants, {other!r} and {variant.name!r}, would share one '
        'folder: give them labels that differ in more than punctuation.'
      )
  return found


def choices(grid: Grid) -> list[Choice]:
  """Every combination of the search's values; one without values if none."""
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
  """Raises UserError unless these are distinct whole numbers."""
  is_list = isinstance(seeds, list | tuple) and bool(seeds)
  if not is_list or not all(type(s) is int and s >= 0 for s in seeds):
    raise UserError(f'SEEDS = {seeds!r} must be a list such as [0, 1, 2].')
  if len(set(seeds)) < len(seeds):
    raise UserError(f'SEEDS = {seeds!r} has a seed twice.')


def folder_name(name: str) -> str:
  """A name as a folder's: 'MoV, NUM_EXPERTS=10' to 'MoV_NUM_EXPERTS=10'."""
  return re.sub(r'[^\w.=+-]+', '_', name, flags=re.ASCII).strip('_.')


def _choices(name: str, axis: Axis) -> list[tuple[str, Composed]]:
  """Labels of an axis with their words."""
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
        f'An axis binds {name}, which the grid itself gives to every run: '
        'SEED is of SEEDS, what is searched is of sweep.Grid.search.'
      )
