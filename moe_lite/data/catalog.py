"""A catalog of tasks that tells evaluation what their rows do not say.

The module of a suite registers its tasks here when it is imported. Evaluation
looks tasks up to group prompts by data set, and to print the score of chance
beside every score.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TaskInfo:
  """A task's place in its suite.

  Attributes:
    name: the name of the SeqIO task that holds one row for each example.
    dataset: the name of its data set. The prompts of a data set are summarised
      by the median of their scores.
    cluster: the kind of task. Clusters that are held out are never trained on.
    template: the name of the prompt.
    chance: the accuracy of guessing, in percent. None if the task does not
      choose among answers.
    held_out: whether the data set belongs to the evaluation.
    column: the column of the data set in the table of scores. Data sets that
      share a column, such as the three rounds of ANLI, count as one in the
      average over data sets, with the mean of their scores. None gives the data
      set a column of its own.
    hub: the data set of Hugging Face's hub that the rows are from, such as
      'bigscience/P3'; None if there is none.
  """

  name: str
  dataset: str
  cluster: str
  template: str
  chance: float | None
  held_out: bool
  column: str | None = None
  hub: str | None = None


# How the scores of a data set's prompts became one. These are also the names of
# our own averages.
Convention = Literal['median', 'mean']
MEDIAN: Convention = 'median'
MEAN: Convention = 'mean'


@dataclasses.dataclass(frozen=True)
class Published:
  """An average over data sets that others reported.

  It is shown beside results that have the same convention and columns. One that
  does not tell them is shown nowhere.

  Attributes:
    name: what was evaluated.
    average: the average, in the unit of our own results.
    mark: a key of the table's `marks`, which says how the number is known.
    convention: whether the score of a data set is the median over its prompts
      or the mean; None if that is not told.
    columns: the columns that the average is over, as in `TaskInfo.column`.
    dropped: data sets of the same evaluation that the average leaves out.
    steps: the number of training steps; None if that is not told.
    batch: the number of rows of a training step; None if that is not told.
    source: who reported it; None if it is the table's `source`.
    scores: the scores of `columns`, in their order; empty if they are not told.
  """

  name: str
  average: float
  mark: str
  convention: Convention | None = None
  columns: tuple[str, ...] = ()
  dropped: tuple[str, ...] = ()
  steps: int | None = None
  batch: int | None = None
  source: str | None = None
  scores: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class PublishedTable:
  """Averages of others to print beside results on a mixture.

  Attributes:
    source: who reported the averages that name no source of their own, and for
      which base.
    averages: the averages, in the order in which they are shown.
    marks: maps each mark to a phrase that says how a number is known.
  """

  source: str
  averages: tuple[Published, ...]
  marks: Mapping[str, str]


# A task's twin with this suffix has one row for each choice, to rank them.
SCORE_EVAL = '_score_eval'

_TASKS: dict[str, TaskInfo] = {}
_PUBLISHED: dict[str, PublishedTable] = {}


def add(info: TaskInfo) -> None:
  """Registers a task.

  Raises:
    ValueError: if another task of that name is registered.
  """
  if _TASKS.setdefault(info.name, info) != info:
    raise ValueError(f'Task {info.name!r} is already in the catalog.')


def lookup(task_name: str) -> TaskInfo | None:
  """Returns what is known about a task.

  Args:
    task_name: the name of a task, or of its twin with the suffix `_score_eval`.

  Returns:
    None if no such task is registered.
  """
  return _TASKS.get(task_name.removesuffix(SCORE_EVAL))


def tasks() -> tuple[TaskInfo, ...]:
  """Returns all registered tasks, in the order of their registration."""
  return tuple(_TASKS.values())


def add_published(mixture: str, table: PublishedTable) -> None:
  """Registers what others reported for a mixture."""
  _PUBLISHED[mixture] = table


def published(mixture: str) -> PublishedTable | None:
  """Returns what others reported for a mixture; None if nothing is known."""
  return _PUBLISHED.get(mixture)
