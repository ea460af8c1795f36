"""Rank classification: the likeliest of the answer choices of an example.

The answer to an example is the choice whose target has the best score.
"""

import dataclasses

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.inference import scoring
from moe_lite.inference.answers import Answers, Rows
from moe_lite.inference.padding import Shapes


@dataclasses.dataclass(frozen=True)
class Ranking:
  """The outcome of a task.

  Attributes:
    accuracy: in percent, weighted.
    f1: in percent, where all examples choose among the same labels: the F1 of
      choice 1 if there are two, else the mean over labels; None elsewhere.
    chance: the accuracy of guessing, in percent.
    examples: the number of examples.
    rows: the number of choices of all examples.
    none_correct: the number of examples without a correct choice; they count as
      wrong.
    several_correct: the number of examples with several correct choices; any of
      these counts as right.
    ties: the number of examples with several best choices, some of which are
      correct and some not. The first choice wins.
    equal_choices: the number of examples with choices that are equal, or equal
      once they are trimmed.
    shared_accuracy: the accuracy if the best choices of an example shared its
      credit.
    predictions: the `idx[1]` that was chosen for every example, in the order of
      `idx[0]`.
  """

  accuracy: float
  f1: float | None
  chance: float
  examples: int
  rows: int
  none_correct: int
  several_correct: int
  ties: int
  equal_choices: int
  shared_accuracy: float
  predictions: tuple[int, ...]


def score(
  rows: Rows,
  encode: scoring.Encode,
  score_choices: scoring.ScoreChoices,
  shapes: Shapes,
) -> np.ndarray:
  """Scores all N rows; see `scoring.score`, also for the arguments.

  Returns:
    The log-probability of the target of each row, float32 [N].

  Raises:
    UserError: if a score is NaN or infinite; it names the task.
  """
  found = scoring.score(rows.choices, encode, score_choices, shapes)
  scores = np.array([found[i][j] for i, j in rows.places], np.float32)
  rows.answers.check_finite(scores)
  return scores


def rank(
  rows: Rows, scores: np.ndarray, length_normalized: bool = False
) -> Ranking:
  """Chooses the likeliest answer to every example; ties go to the lowest idx.

  Args:
    rows: the rows of one task.
    scores: what `score` gave for them, [N].
    length_normalized: whether a score is divided by the number of tokens of its
      target first.

  Raises:
    UserError: if a score is NaN or infinite, or if all weights are zero.
  """
  answers, targets = rows.answers, rows.targets
  answers.check_finite(scores)
  if length_normalized:
    scores = scores / np.maximum([len(t) for t in targets], 1)
  starts, best = _choose(answers, scores)
  weight = _weight(answers, starts)
  correct = np.add.reduceat(answers.is_correct.astype(int), starts)
  counts = np.diff(starts, append=len(answers))
  credit = _shared_credit(answers, scores, starts)
  return Ranking(
    accuracy=_percent(answers.is_correct[best], weight),
    f1=_f1(rows, starts, best, weight) if (correct == 1).all() else None,
    chance=_percent(correct / counts, weight),
    examples=len(starts),
    rows=len(answers),
    none_correct=int((correct == 0).sum()),
    several_correct=int((correct > 1).sum()),
    ties=int(((credit > 0) & (credit < 1)).sum()),
    equal_choices=_equal_choices(rows, starts),
    shared_accuracy=_percent(credit, weight),
    predictions=tuple(int(i) for i in answers.choice[best]),
  )


def accuracy(answers: Answers, scores: np.ndarray) -> float:
  """The accuracy that `rank` gives, in percent, without knowing any target.

  Raises:
    UserError: see `rank`.
  """
  answers.check_finite(scores)
  starts, best = _choose(answers, scores)
  return _percent(answers.is_correct[best], _weight(answers, starts))


def _choose(
  answers: Answers, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The first row of every example, and the row of its likeliest choice."""
  starts = np.flatnonzero(np.diff(answers.example, prepend=np.nan))
  ends = [*starts[1:], len(answers)]
  # Rows are in the order of choices, and argmax takes the first of equals.
  best = [
    start + np.argmax(scores[start:end])
    for start, end in zip(starts, ends, strict=True)
  ]
  return starts, np.array(best)


def _shared_credit(
  answers: Answers, scores: np.ndarray, starts: np.ndarray
) -> np.ndarray:
  """The share of the best choices of every example that is correct."""
  counts = np.diff(starts, append=len(answers))
  best = np.repeat(np.maximum.reduceat(scores, starts), counts)
  is_best = scores == best
  right = np.add.reduceat((is_best & answers.is_correct).astype(int), starts)
  return right / np.add.reduceat(is_best.astype(int), starts)


def _equal_choices(rows: Rows, starts: np.ndarray) -> int:
  """The number of examples with choices of equal inputs and targets."""
  ends = [*starts[1:], len(rows.answers)]
  seen = [
    (rows.places[row][0], target.tobytes())
    for row, target in enumerate(rows.targets)
  ]
  return sum(
    bool(len(set(seen[start:end])) < end - start)
    for start, end in zip(starts, ends, strict=True)
  )


def _weight(answers: Answers, starts: np.ndarray) -> np.ndarray:
  """The weight of every example."""
  weight = answers.weight[starts]
  if weight.sum() <= 0:
    raise UserError(
      f'Task {answers.task!r}: the weights of its examples sum to '
      f'{weight.sum():g}, so that there is no weighted accuracy.'
    )
  return weight


def _percent(values: np.ndarray, weight: np.ndarray) -> float:
  return float(100 * np.average(values, weights=weight))


def _f1(
  rows: Rows, starts: np.ndarray, best: np.ndarray, weight: np.ndarray
) -> float | None:
  """F1 over labels; None where the choices are not the same in all examples."""
  counts = np.diff(starts, append=len(rows.answers))
  num_labels = counts[0]
  if num_labels < 2 or (counts != num_labels).any():
    return None
  targets = rows.targets
  for label in range(num_labels):
    if len({targets[start + label].tobytes() for start in starts}) > 1:
      return None
  truth = rows.answers.is_correct.reshape(-1, num_labels).argmax(1)
  chosen = best - starts
  labels = [1] if num_labels == 2 else range(num_labels)
  scores = []
  for label in labels:
    both = weight[(truth == label) & (chosen == label)].sum()
    either = weight[truth == label].sum() + weight[chosen == label].sum()
    # As in scikit-learn, a label that is neither true nor chosen scores 0.
    scores.append(2 * both / either if either else 0.0)
  return float(100 * np.mean(scores))
