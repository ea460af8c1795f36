"""Examples of tasks, read to look at what a model does with them."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from moe_lite.core import progress
from moe_lite.core.errors import UserError
from moe_lite.core.features import INPUTS_EMBEDDING
from moe_lite.data import catalog, dataset
from moe_lite.data.task_ids import numbers_for
from moe_lite.inference.padding import Input, Shapes, pad_inputs, pad_targets


@dataclasses.dataclass(frozen=True)
class Example:
  """An example, and the task that it was read from.

  Attributes:
    task: the task.
    row: the ids `inputs` and `targets`, and whatever else the task has.
  """

  task: seqio.Task
  row: Mapping[str, np.ndarray]


# The name of a data set to examples of its tasks.
Examples = Mapping[str, Sequence[Example]]


@dataclasses.dataclass(frozen=True)
class ExampleReader:
  """Tasks, and how their examples are read.

  Attributes:
    tasks: the tasks. Of a `_score_eval` task, which has a row for each answer
      choice, only the rows with the right choices are read.
    lengths: {'inputs': L, 'targets': T}; longer inputs and targets are trimmed.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    known: the tasks that the routers know; see `Trained.tasks`.
  """

  tasks: Sequence[seqio.Task]
  lengths: Mapping[str, int]
  use_cached: bool = False
  known: Mapping[str, Any] | None = None

  def shapes(self, batch_size: int) -> Shapes:
    """The shapes that batches of examples are padded to."""
    return Shapes(batch_size, self.lengths['inputs'], self.lengths['targets'])

  def read(self, split: str, count: int) -> Examples:
    """Reads the first `count` examples of every task.

    Raises:
      UserError: if a task lacks the split, or has no right choice in it.
    """
    found: dict[str, list[Example]] = defaultdict(list)
    bar = progress.Progress(len(self.tasks), unit='task')
    for task in self.tasks:
      info = catalog.lookup(task.name)
      found[info.dataset if info else task.name] += self._read(
        task, split, count
      )
      bar.advance()
      bar.report(task.name)
    bar.close()
    return found

  def _read(self, task: seqio.Task, split: str, count: int) -> list[Example]:
    dataset.check_split(task, split, self.use_cached)
    # Rows with wrong choices are read and dropped, so that it takes more rows.
    has_choices = task.name.endswith(catalog.SCORE_EVAL)
    rows = dataset.read(
      task,
      split,
      self.lengths,
      self.use_cached,
      None if has_choices else count,
      number=numbers_for(task, self.known).get(task.name),
    )
    right = [row for row in rows if row.get('is_correct', True)]
    if not right:
      raise UserError(
        f'Task {task.name!r} has no right choice in split {split!r}, and only '
        'right choices are read: choose another split.'
      )
    return [Example(task, row) for row in right[:count]]


def batch_of(
  examples: Sequence[Example], shapes: Shapes
) -> dict[str, np.ndarray]:
  """Pads examples to a batch for the network.

  Raises:
    UserError: if some of the examples have a vector for routers, and some do
      not.
  """
  if len({INPUTS_EMBEDDING in x.row for x in examples}) > 1:
    names = sorted({x.task.name for x in examples})
    raise UserError(
      f'Some of {", ".join(names)} have {INPUTS_EMBEDDING!r} and some do not, '
      'though they are of one data set.'
    )
  inputs = [Input.of(x.row) for x in examples]
  targets = [x.row['targets'] for x in examples]
  return {
    **pad_inputs(inputs, shapes.batch_size, shapes.input_length),
    **pad_targets(targets, shapes.batch_size, shapes.target_length),
  }
