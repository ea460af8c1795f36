"""Rank classification: scores of rows, and metrics of these scores."""

import random

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import answers, ranking
from tests.inference.choice_rows import SHAPES, by_hand, checksum, draw, row


def test_rows_may_come_in_any_order():
  rows = draw()
  outcomes = set()
  for seed in range(3):
    shuffled = rows[:]
    random.Random(seed).shuffle(shuffled)
    collected = answers.collect('task', shuffled)
    encode, score_choices, _ = by_hand(checksum)
    scores = ranking.score(collected, encode, score_choices, SHAPES)
    outcomes.add(ranking.rank(collected, scores))
  assert len(outcomes) == 1


def test_choices_with_other_inputs_are_encoded_apart():
  rows = [row(0, 0, [5], [7, 1]), row(0, 1, [6], [7, 1], True)]
  collected = answers.collect('task', rows)
  encode, score_choices, _ = by_hand(lambda a, b: sum(a))
  scores = ranking.score(collected, encode, score_choices, SHAPES)
  assert scores.tolist() == [5, 6]
  assert ranking.rank(collected, scores).accuracy == 100


def rank(correct_choices, scores, labels=None, weights=None, **options):
  """Ranks examples given by their correct choices and scores per choice."""
  rows, flat = [], []
  for i, (correct, values) in enumerate(
    zip(correct_choices, scores, strict=True)
  ):
    correct = correct if isinstance(correct, tuple) else (correct,)
    for j, value in enumerate(values):
      targets = labels[j] if labels else [10 + 7 * i + j, 1]
      weight = 1.0 if weights is None else weights[i]
      rows.append(row(i, j, [i + 2], targets, j in correct, weight))
      flat.append(value)
  collected = answers.collect('task', rows)
  return ranking.rank(collected, np.array(flat, np.float32), **options)


def test_ties_go_to_the_lowest_index():
  result = rank([0, 1], [[-1, -1, -1], [-2, -1, -1]])
  assert result.predictions == (0, 1)
  assert result.accuracy == 100


def test_accuracy_is_weighted():
  result = rank([0, 0], [[0, -1], [-1, 0]], weights=[3.0, 1.0])
  assert result.accuracy == 75
  with pytest.raises(UserError, match="'task'.*weights"):
    rank([0], [[0, -1]], weights=[0.0])


def test_examples_without_exactly_one_correct_choice_are_counted():
  result = rank(
    [(), (0, 1), (1,), (0, 2)],
    [[0, -1], [0, -1, -2], [0, -1], [-1, 0, -1]],
  )
  assert result.none_correct == 1
  assert result.several_correct == 2
  assert result.accuracy == 25  # Of these four, only the second is right.
  assert result.examples == 4 and result.rows == 10
  np.testing.assert_allclose(
    result.chance, 100 * (0 + 2 / 3 + 1 / 2 + 2 / 3) / 4
  )


def test_length_normalisation_is_an_option():
  labels = [[5, 1], [5, 6, 7, 1]]
  scores = [[-3.0, -4.0]]
  assert rank([1], scores, labels).accuracy == 0
  assert rank([1], scores, labels, length_normalized=True).accuracy == 100


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_task(bad):
  with pytest.raises(UserError, match=r"'task'.*idx \(1, 0\)"):
    rank([0, 0], [[0, -1], [bad, 0]])
  collected = answers.collect('nan_task', draw(2))
  encode, score_choices, _ = by_hand(lambda a, b: bad)
  with pytest.raises(UserError, match="'nan_task'"):
    ranking.score(collected, encode, score_choices, SHAPES)


def f1_by_hand(truth, chosen, label):
  pairs = list(zip(truth, chosen, strict=True))
  tp = sum(t == c == label for t, c in pairs)
  if not tp:
    return 0.0
  precision = tp / sum(c == label for _, c in pairs)
  recall = tp / sum(t == label for t, _ in pairs)
  return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize('num_labels', [2, 3, 4])
def test_f1_over_fixed_labels(num_labels):
  rng = np.random.default_rng(num_labels)
  labels = [[10 + j, 1] for j in range(num_labels)]
  truth = rng.integers(num_labels, size=30).tolist()
  scores = rng.normal(size=(30, num_labels))
  chosen = scores.argmax(1).tolist()
  wanted = [f1_by_hand(truth, chosen, j) for j in range(num_labels)]
  wanted = wanted[1] if num_labels == 2 else np.mean(wanted)
  np.testing.assert_allclose(rank(truth, scores, labels).f1, 100 * wanted)


def test_f1_is_left_out_where_choices_are_the_example_s_own():
  assert rank([0, 1], [[0, -1], [0, -1]]).f1 is None
  labels = [[5, 1], [6, 1], [7, 1]]
  assert rank([0, 1], [[0, -1], [0, -1, -2]], labels).f1 is None


def test_accuracy_needs_no_targets():
  rows = answers.collect('task', draw())
  scores = np.random.default_rng(0).normal(size=len(rows.answers))
  wanted = ranking.rank(rows, scores).accuracy
  assert ranking.accuracy(rows.answers, scores) == wanted


def test_ties_and_equal_choices_are_counted():
  def row(example, choice, targets, correct):
    return {
      'idx': (example, choice),
      'inputs': [1 + example],
      'targets': targets,
      'is_correct': correct,
      'weight': 1.0,
    }

  collected = answers.collect(
    'ties',
    [
      # Two choices that are equal; one is right.
      *(row(0, 0, [5], True), row(0, 1, [5], False)),
      # A tie of three with one right, which is not the first.
      *(row(1, 0, [5], False), row(1, 1, [6], True), row(1, 2, [7], False)),
      # A tie of two right ones is no tie.
      *(row(2, 0, [5], True), row(2, 1, [6], True)),
      # No tie.
      *(row(3, 0, [5], False), row(3, 1, [6], True)),
    ],
  )
  scores = np.array([-1, -1, -2, -2, -2, -3, -3, -5, -4], np.float32)
  found = ranking.rank(collected, scores)
  assert (found.ties, found.equal_choices) == (2, 1)
  assert found.accuracy == 75
  assert found.shared_accuracy == pytest.approx(100 * (1 / 2 + 1 / 3 + 2) / 4)


@pytest.mark.parametrize('weight', [np.nan, np.inf, -1.0])
def test_weights_that_are_no_weights_are_refused(weight):
  row = {'idx': (0, 0), 'inputs': [3], 'targets': [4], 'is_correct': True}
  with pytest.raises(UserError, match=r"'x'.*idx \(0, 0\) has the weight"):
    answers.collect('x', [{**row, 'weight': weight}])
