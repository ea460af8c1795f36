"""How a run chooses among its checkpoints, and when it ends."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.training.validating import Choosing


def lines(*values, name='accuracy'):
  return [{'step': 10 * i, name: value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
  ('best_by', 'values', 'step'),
  [
    # The beginning has no checkpoint, and of equals the first is the best.
    ('accuracy', (99, 50, 70, 70, 60), 20),
    ('loss', (0.1, 3, 1, 1, 2), 20),
  ],
)
def test_the_best_is_the_first_of_the_best(best_by, values, step):
  choosing = Choosing(best_by)
  best = choosing.best(lines(*values, name=best_by))
  assert best['step'] == step
  assert f'at step {step} (--gin.CHECKPOINT_STEP={step})' in choosing.result(
    lines(*values, name=best_by)
  )


def test_nothing_is_chosen_without_a_metric_or_a_validation():
  assert Choosing().best(lines(1, 2)) is None
  assert Choosing().best_step(lines(1, 2)) is None
  assert Choosing('loss').best([]) is None
  assert Choosing('loss').result([]) is None


def test_patience_counts_validations_that_are_not_better():
  choosing = Choosing('accuracy', patience=2)
  assert not choosing.is_over(lines(0, 50, 40))
  assert choosing.is_over(lines(0, 50, 40, 50))
  assert not choosing.is_over(lines(0, 50, 40, 51, 51))
  assert not Choosing('accuracy').is_over(lines(0, 50, 1, 1, 1))


def test_mistakes():
  with pytest.raises(UserError, match="BEST_BY = 'f1' must be one of 'loss'"):
    Choosing('f1')
  with pytest.raises(UserError, match='PATIENCE = 3 needs BEST_BY'):
    Choosing(patience=3)
