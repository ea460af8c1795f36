"""Which tasks of a mixture are measured, and which of their rows."""

import itertools
from typing import Any

import seqio

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data import dataset
from moe_lite.evaluation.measuring import has_choices


def first_examples(
  rows: list[dict[str, Any]], num_examples: int | None
) -> list[dict[str, Any]]:
  """The rows of the first examples; None takes those of all."""
  if num_examples is None or not has_choices(rows[0]):
    return rows[:num_examples]
  examples = dict.fromkeys(int(row['idx'][0]) for row in rows)
  kept = set(itertools.islice(examples, num_examples))
  return [row for row in rows if int(row['idx'][0]) in kept]


def tasks_with(
  provider: seqio.Task | seqio.Mixture, split: str
) -> list[seqio.Task]:
  """The tasks that have the split, by name; one of a mixture may lack it."""
  tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
  tasks = sorted(tasks, key=lambda task: task.name)
  found = [task for task in tasks if split in dataset.splits_of(task)]
  if not found:
    splits = sorted(set().union(*map(dataset.splits_of, tasks)))
    raise UserError(
      f'No task has a split {split!r}; there is {", ".join(splits) or "none"}. '
      'Give --gin.EVAL_SPLIT.'
    )
  if others := [task.name for task in tasks if task not in found]:
    say(
      f'{len(others)} of {len(tasks)} tasks have no split {split!r} and are '
      f'left out: {", ".join(others)}.'
    )
  return found
