"""What evaluation needs to know about a task beyond its rows.

Suites register their tasks here on import; the evaluator looks them up to
group prompts into data sets and to print chance beside every score.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class TaskInfo:
  """A task's place in its suite.

  Attributes:
    name: of the SeqIO task that holds one row per example.
    dataset: whose prompts are summarised by their median.
    cluster: the kind of task; held-out clusters are never trained on.
    template: the prompt's name.
    chance: accuracy of guessing, in percent; None where nothing is chosen.
    held_out: whether the data set belongs to the evaluation.
    column: data sets of one column count as one in the average over data
      sets, by their mean (ANLI's three rounds); None for one of its own.
  """

  name: str
  dataset: str
  cluster: str
  template: str
  chance: float | None
  held_out: bool
  column: str | None = None


@dataclasses.dataclass(frozen=True)
class Published:
  """An average over data sets that others reported.

  Attributes:
    name: what was evaluated.
    average: as results give it.
    mark: how it is known, a key of its table's `marks`.
  """

  name: str
  average: float
  mark: str


@dataclasses.dataclass(frozen=True)
class PublishedTable:
  """Averages to print beside results on a mixture.

  Attributes:
    source: who reported them, and for which base.
    averages: as reported.
    marks: what each mark says of a figure's provenance.
  """

  source: str
  averages: tuple[Published, ...]
  marks: Mapping[str, str]


SCORE_EVAL = '_score_eval'

_TASKS: dict[str, TaskInfo] = {}
_PUBLISHED: dict[str, PublishedTable] = {}


def add(info: TaskInfo) -> None:
  """Registers a task; raises ValueError if its name is taken by another."""
  if _TASKS.setdefault(info.name, info) != info:
    raise ValueError(f'Task {info.name!r} is already in the catalog.')


def lookup(task_name: str) -> TaskInfo | None:
  """The task of that name or of its `_score_eval` twin; None if unknown."""
  return _TASKS.get(task_name.removesuffix(SCORE_EVAL))


def tasks() -> tuple[TaskInfo, ...]:
  """All registered tasks, in the order of registration."""
  return tuple(_TASKS.values())


def add_published(mixture: str, table: PublishedTable) -> None:
  """Registers what others reported for a mixture."""
  _PUBLISHED[mixture] = table


def published(mixture: str) -> PublishedTable | None:
  """What others reported for a mixture; None if nothing is known."""
  return _PUBLISHED.get(mixture)
