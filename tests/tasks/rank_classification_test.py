"""The metric that other evaluators call agrees with our own ranking."""

import pytest

from moe_lite.core.errors import UserError
from tasks import rank_classification
from tasks.mini import suite


def rows(correct):
  """Three choices an example; `correct` names the right one of each."""
  return [
    {'idx': (example, choice), 'is_correct': choice == right, 'weight': 1.0}
    for example, right in enumerate(correct)
    for choice in range(3)
  ]


def test_rows_may_come_in_any_order():
  targets = rows([0, 2])
  scores = [-1.0, -2.0, -3.0, -1.0, -2.0, -3.0]  # Right, then wrong.
  assert rank_classification.accuracy(targets, scores) == {'accuracy': 50.0}
  backwards = rank_classification.accuracy(targets[::-1], scores[::-1])
  assert backwards == {'accuracy': 50.0}


def test_scores_that_are_no_numbers_are_an_error():
  with pytest.raises(UserError, match='not finite'):
    rank_classification.accuracy(rows([0]), [0.0, float('nan'), 1.0])


def test_the_tasks_of_the_suite_carry_it():
  import seqio

  name = f'{suite.TASKS[0].name}_score_eval'
  task = seqio.get_mixture_or_task(name)
  assert task.score_metric_fns == [rank_classification.accuracy]
  row = rows([1])[1]
  kept = task.postprocess_fn('dog', example=row | {'x': 1}, is_target=True)
  assert kept == row
