"""The rows of a task with answer choices, gathered.

A `_score_eval` task has one row for each answer choice: `idx` (example,
choice), `inputs`, `targets`, `is_correct` and `weight`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.inference.padding import Input
from moe_lite.inference.scoring import Choices

# What a row must have.
COLUMNS = ('idx', 'inputs', 'targets', 'is_correct', 'weight')


@dataclasses.dataclass(frozen=True)
class Answers:
  """What is known of the answer choices of a task.

  There are N rows, one for each choice, in the order of examples and, within an
  example, of its choices.

  Attributes:
    task: the name of the task, for messages.
    example: int [N], `idx[0]`.
    choice: int [N], `idx[1]`.
    is_correct: bool [N].
    weight: float [N], of the example in the accuracy.
  """

  task: str
  example: np.ndarray
  choice: np.ndarray
  is_correct: np.ndarray
  weight: np.ndarray

  def __len__(self) -> int:
    return len(self.example)

  def check_finite(self, scores: np.ndarray) -> None:
    """Raises UserError if one of the scores [N] is NaN or infinite.

    NaN would win an argmax, and nobody would notice.
    """
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
      i = bad[0]
      raise UserError(
        f'Task {self.task!r}: {bad.size} of {len(self)} scores are not finite; '
        f'the first is that of idx ({self.example[i]}, {self.choice[i]}): '
        f'{scores[i]}. The checkpoint diverged, or the activations overflow: '
        'try another checkpoint, or --gin.ACTIVATION_DTYPE="\'float32\'".'
      )


@dataclasses.dataclass(frozen=True)
class Rows:
  """The rows of a task: what is ranked, and what is scored to rank it.

  Attributes:
    answers: N rows.
    choices: the inputs, each once, with the targets of all rows that share it.
    places: for each of the N rows, the index of its input among `choices`, and
      the index of its target among those of that input.
  """

  answers: Answers
  choices: Sequence[Choices]
  places: Sequence[tuple[int, int]]

  @property
  def targets(self) -> list[np.ndarray]:
    """The ids of the targets of all N rows."""
    return [self.choices[i].targets[j] for i, j in self.places]


def collect(task: str, rows: Iterable[Mapping[str, Any]]) -> Rows:
  """Gathers the rows of a task, which may arrive in any order.

  Rows of one example that have equal ids as inputs share one input.

  Raises:
    UserError: if there are none, if a column is missing, if two rows have the
      same idx, or if a weight is negative or not finite.
  """
  found: dict[tuple[int, int], Mapping[str, Any]] = {}
  inputs: dict[tuple[int, bytes], Input] = {}
  for row in rows:
    if missing := [name for name in COLUMNS if name not in row]:
      raise UserError(
        f'Task {task!r} has no column {missing[0]!r} (it has '
        f'{", ".join(sorted(row))}): rank classification needs '
        f'{", ".join(COLUMNS)}, one row per answer choice.'
      )
    example, choice = (int(i) for i in row['idx'])
    if (example, choice) in found:
      raise UserError(
        f'Task {task!r} has two rows with idx ({example}, {choice}): idx must '
        'name every (example, choice) once.'
      )
    weight = float(row['weight'])
    if not (np.isfinite(weight) and weight >= 0):
      raise UserError(
        f'Task {task!r}: the row with idx ({example}, {choice}) has the weight '
        f'{weight}. A weight must be a number of at least 0.'
      )
    found[example, choice] = row
    inputs.setdefault(_key(example, row), Input.of(row))
  if not found:
    raise UserError(
      f'Task {task!r} has no rows in this split: choose another split, or '
      'leave the task out.'
    )
  keys = sorted(found)
  targets: dict[tuple[int, bytes], list[np.ndarray]] = {}
  places = []
  for example, choice in keys:
    row = found[example, choice]
    key = _key(example, row)
    there = targets.setdefault(key, [])
    places.append((key, len(there)))
    there.append(np.asarray(row['targets'], np.int32))
  index = {key: i for i, key in enumerate(targets)}
  answers = Answers(
    task=task,
    example=np.array([example for example, _ in keys]),
    choice=np.array([choice for _, choice in keys]),
    is_correct=np.array([bool(found[key]['is_correct']) for key in keys]),
    weight=np.array([float(found[key]['weight']) for key in keys]),
  )
  return Rows(
    answers,
    choices=[Choices(inputs[key], there) for key, there in targets.items()],
    places=[(index[key], j) for key, j in places],
  )


def _key(example: int, row: Mapping[str, Any]) -> tuple[int, bytes]:
  """What rows have in common that share an input."""
  return example, np.asarray(row['inputs'], np.int32).tobytes()
