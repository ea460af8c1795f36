"""Rank classification: the likeliest of an example's answer choices.

A `_score_eval` task has one row per choice: `idx` (example, choice), `inputs`,
`targets`, `is_correct`, `weight`. A row's score is the log-probability of its
target, EOS included. The choices of an example share its inputs, so that these
are encoded once and all choices are decoded against them: with C choices, 1/C
of the encoder's work. Scores equal those of scoring row by row.

The model comes as two functions.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array
from moe_lite.inference.padding import (
  Input,
  Shapes,
  bucket,
  pad,
  pad_inputs,
  shift_right,
)

# What `shapes.pad_inputs` gives, to what the decoder reads; and that, with what
# the former gave, decoder inputs and targets [B, C, T], to the targets'
# log-probabilities [B, C].
Encode = Callable[[Mapping[str, np.ndarray]], Array]
ScoreChoices = Callable[..., Array]

# How many choices of an input are decoded in one call, and how many of their
# tokens at most (or those of one choice): logits take memory for each.
_AT_ONCE = (1, 2, 3, 4, 8)
_TOKENS_AT_ONCE = 256

COLUMNS = ('idx', 'inputs', 'targets', 'is_correct', 'weight')


@dataclasses.dataclass(frozen=True)
class Rows:
  """The rows of one task, in the order of example, then choice.

  Attributes:
    task: its name, for messages.
    example: int [N], `idx[0]`.
    choice: int [N], `idx[1]`.
    inputs: of N rows; rows with equal inputs share one object.
    targets: N arrays of ids.
    is_correct: bool [N].
    weight: float [N].
  """

  task: str
  example: np.ndarray
  choice: np.ndarray
  inputs: Sequence[Input]
  targets: Sequence[np.ndarray]
  is_correct: np.ndarray
  weight: np.ndarray

  def __len__(self) -> int:
    return len(self.example)


@dataclasses.dataclass(frozen=True)
class Ranking:
  """The outcome of a task.

  Attributes:
    accuracy: percent, weighted.
    f1: percent, where all examples choose among the same labels: of choice 1
      if there are two, else the mean over labels; None elsewhere.
    chance: accuracy of guessing, in percent.
    examples: how many.
    rows: how many choices in all.
    none_correct: examples none of whose choices is correct; they count as
      wrong.
    several_correct: examples of which several are; any of them counts as
      right.
    predictions: the chosen `idx[1]` of every example, in order of `idx[0]`.
  """

  accuracy: float
  f1: float | None
  chance: float
  examples: int
  rows: int
  none_correct: int
  several_correct: int
  predictions: tuple[int, ...]


def collect(task: str, rows: Iterable[Mapping[str, Any]]) -> Rows:
  """Gathers the rows of a task, which may arrive in any order.

  Raises:
    UserError: if there are none, a column is missing, or two rows have one idx.
  """
  found: dict[tuple[int, int], tuple[Input, np.ndarray, bool, float]] = {}
  shared: dict[tuple[int, bytes], Input] = {}
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
    ids = np.asarray(row['inputs'], np.int32).tobytes()
    found[example, choice] = (
      shared.setdefault((example, ids), Input.of(row)),
      np.asarray(row['targets'], np.int32),
      bool(row['is_correct']),
      float(row['weight']),
    )
  if not found:
    raise UserError(
      f'Task {task!r} has no rows in this split: choose another split, or '
      'leave the task out.'
    )
  keys = sorted(found)
  inputs, targets, is_correct, weight = zip(
    *(found[key] for key in keys), strict=True
  )
  return Rows(
    task=task,
    example=np.array([example for example, _ in keys]),
    choice=np.array([choice for _, choice in keys]),
    inputs=inputs,
    targets=targets,
    is_correct=np.array(is_correct),
    weight=np.array(weight),
  )


def score(
  rows: Rows,
  encode: Encode,
  score_choices: ScoreChoices,
  shapes: Shapes,
) -> np.ndarray:
  """Log-probabilities of all rows' targets, float32 [N].

  A batch is `batch_size` inputs, padded to a length from a short list; it is
  encoded once, then the first choices of all its inputs are decoded together,
  then the next ones, and so on: every call has one of few shapes, whatever the
  number of choices, and a row's encoding stays on the device that made it.

  Args:
    rows: of one task.
    encode: compiled for each shape it is called with.
    score_choices: likewise.
    shapes: to pad to.

  Raises:
    UserError: if a score is NaN or infinite; it names the task.
  """
  scores = np.zeros(len(rows), np.float32)
  pending: list[tuple[np.ndarray, Array]] = []

  def finish() -> None:
    for indices, values in pending:
      is_row = indices >= 0
      scores[indices[is_row]] = np.asarray(values)[is_row]
    pending.clear()

  for batch in _batches(rows, shapes):
    first = [unit[0] for unit in batch]
    inputs = pad_inputs(
      [rows.inputs[i] for i in first], shapes.batch_size, shapes.input_length
    )
    encoded = encode(inputs)
    # While the device works on this batch, the last one's scores are fetched.
    finish()
    for indices in _choices(batch, rows, shapes):
      targets = pad(
        [rows.targets[i] if i >= 0 else () for i in indices.ravel()],
        indices.size,
        shapes.target_length,
      ).reshape(*indices.shape, -1)
      values = score_choices(encoded, inputs, shift_right(targets), targets)
      pending.append((indices, values))
  finish()
  _check_finite(rows, scores)
  return scores


def rank(
  rows: Rows, scores: np.ndarray, length_normalized: bool = False
) -> Ranking:
  """Chooses the likeliest answer of every example; ties go to the lowest idx.

  Args:
    rows: of one task.
    scores: from `score`.
    length_normalized: divide a score by its number of target tokens first.

  Raises:
    UserError: if a score is NaN or infinite, or all weights are zero.
  """
  _check_finite(rows, scores)
  if length_normalized:
    scores = scores / np.maximum([len(t) for t in rows.targets], 1)
  starts = np.flatnonzero(np.diff(rows.example, prepend=np.nan))
  ends = [*starts[1:], len(rows)]
  # Rows are in the order of choices, and argmax takes the first of equals.
  best = np.array(
    [a + np.argmax(scores[a:b]) for a, b in zip(starts, ends, strict=True)]
  )
  correct = np.add.reduceat(rows.is_correct.astype(int), starts)
  weight = rows.weight[starts]
  if weight.sum() <= 0:
    raise UserError(
      f'Task {rows.task!r}: the weights of its examples sum to '
      f'{weight.sum():g}, so that there is no weighted accuracy.'
    )
  is_right = rows.is_correct[best]
  return Ranking(
    accuracy=_percent(is_right, weight),
    f1=_f1(rows, starts, best, weight) if (correct == 1).all() else None,
    chance=_percent(correct / np.diff(starts, append=len(rows)), weight),
    examples=len(starts),
    rows=len(rows),
    none_correct=int((correct == 0).sum()),
    several_correct=int((correct > 1).sum()),
    predictions=tuple(int(i) for i in rows.choice[best]),
  )


def _batches(rows: Rows, shapes: Shapes) -> Iterator[list[list[int]]]:
  """Lists of inputs, each given by the indices of the rows that share it."""
  units: dict[int, list[int]] = defaultdict(list)
  for i, inputs in enumerate(rows.inputs):
    units[id(inputs)].append(i)
  # Alike in number of choices and in length, so that little is padded.
  ordered = sorted(
    units.values(), key=lambda unit: (-len(unit), len(rows.inputs[unit[0]].ids))
  )
  for start in range(0, len(ordered), shapes.batch_size):
    yield ordered[start : start + shapes.batch_size]


def _choices(
  batch: Sequence[Sequence[int]], rows: Rows, shapes: Shapes
) -> Iterator[np.ndarray]:
  """Indices of the rows that a call scores, [batch_size, C], -1 for none."""
  longest = max(len(rows.targets[i]) for unit in batch for i in unit)
  length = bucket(longest, shapes.target_length)
  fitting = [n for n in _AT_ONCE if n == 1 or n * length <= _TOKENS_AT_ONCE]
  most = max(len(unit) for unit in batch)
  at_once = next((n for n in fitting if n >= most), fitting[-1])
  for start in range(0, most, at_once):
    indices = np.full((shapes.batch_size, at_once), -1)
    for row, unit in zip(indices, batch, strict=False):
      part = unit[start : start + at_once]
      row[: len(part)] = part
    yield indices


def _check_finite(rows: Rows, scores: np.ndarray) -> None:
  # A NaN would win an argmax silently.
  bad = np.flatnonzero(~np.isfinite(scores))
  if bad.size:
    first = bad[0]
    raise UserError(
      f'Task {rows.task!r}: {bad.size} of {len(rows)} scores are not finite, '
      f'first that of idx ({rows.example[first]}, {rows.choice[first]}): '
      f'{scores[first]}. The checkpoint diverged, or the activations overflow: '
      'try another checkpoint, or --gin.ACTIVATION_DTYPE="\'float32\'".'
    )


def _percent(values: np.ndarray, weight: np.ndarray) -> float:
  return float(100 * np.average(values, weights=weight))


def _f1(
  rows: Rows, starts: np.ndarray, best: np.ndarray, weight: np.ndarray
) -> float | None:
  """F1 over labels; None where the choices are not the same in all examples."""
  counts = np.diff(starts, append=len(rows))
  num_labels = counts[0]
  if num_labels < 2 or (counts != num_labels).any():
    return None
  for label in range(num_labels):
    targets = {rows.targets[start + label].tobytes() for start in starts}
    if len(targets) > 1:
      return None
  truth = rows.is_correct.reshape(-1, num_labels).argmax(1)
  chosen = best - starts
  labels = [1] if num_labels == 2 else range(num_labels)
  scores = []
  for label in labels:
    both = weight[(truth == label) & (chosen == label)].sum()
    either = weight[truth == label].sum() + weight[chosen == label].sum()
    # As scikit-learn, a label that neither occurs nor is chosen scores 0.
    scores.append(2 * both / either if either else 0.0)
  return float(100 * np.mean(scores))
