"""What a data set of the mini suite consists of: rows and prompt templates.

A data set draws rows from the world. Every template turns each row into a
prompt, a target and the answer choices, as P3's templates do.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Row:
  """One example before a template is applied.

  Attributes:
    fields: what a template may name in braces.
    choices: the answers to choose from.
    answer: the position of the right answer.
    asked: the subjects that one must know about to answer, each with its
      relation.
  """

  fields: Mapping[str, str]
  choices: tuple[str, ...]
  answer: int
  asked: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Template:
  """A prompt with blanks.

  Attributes:
    text: the prompt. `{options}` stands for the answer choices, and other names
      in braces stand for fields of the row.
    separator: what stands between two options.
    labels: names for the answers, if the template renames them.
  """

  text: str
  separator: str = ', '
  labels: tuple[str, ...] = ()

  def choices(self, row: Row) -> tuple[str, ...]:
    """The answers to choose from, as this template names them."""
    return self.labels or row.choices

  def prompt(self, row: Row) -> str:
    """The prompt with its blanks filled from a row."""
    options = self.separator.join(self.choices(row))
    return self.text.format(options=options, **row.fields)


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A source of rows with its templates.

  Attributes:
    name: the name that task names contain.
    cluster: the kind of task. Training never sees a held-out cluster.
    held_out: whether the data set is for evaluation only.
    num_choices: the number of answer choices of a row.
    rows: draws one row: `(random, split) -> Row`.
    templates: the templates by name.
  """

  name: str
  cluster: str
  held_out: bool
  num_choices: int
  rows: Callable[[random.Random, str], Row]
  templates: Mapping[str, Template]

  def draw(self, split: str, count: int, seed: int = 0) -> list[Row]:
    """Draws `count` rows of a split; equal arguments give equal rows."""
    rng = random.Random(f'{self.name}/{split}/{seed}')
    return [self.rows(rng, split) for _ in range(count)]


def data_set(
  name: str,
  cluster: str,
  rows: Callable[[random.Random, str], Row],
  num_choices: int,
  templates: Mapping[str, str | Template],
  held_out: bool = False,
) -> DataSet:
  """A data set whose templates may be mere texts."""
  whole = {
    key: value if isinstance(value, Template) else Template(value)
    for key, value in templates.items()
  }
  return DataSet(name, cluster, held_out, num_choices, rows, whole)
