"""What evaluation needs to know about a task beyond its rows.

Suites register their tasks here on import; the evaluator looks them up to
group prompts into data sets and to print chance beside every score.
"""

import dataclasses


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


SCORE_EVAL = '_score_eval'

_TASKS: dict[str, TaskInfo] = {}


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
