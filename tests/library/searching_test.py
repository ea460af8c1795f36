"""A search without gradients finds weights, and says what it lacks."""

import math
import sys

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.library import searching

BEST = np.array([0.8, -0.5, 0.0, 1.2])


def quadratic(weights):
  return float(((weights - BEST) ** 2).sum())


@pytest.fixture
def nevergrad():
  return pytest.importorskip('nevergrad', reason='the extra library')


@pytest.mark.usefixtures('nevergrad')
def test_the_least_of_a_quadratic_is_found():
  found = searching.search(quadratic, 4, budget=100, penalty=0.0)
  np.testing.assert_allclose(found, BEST, atol=0.05)


@pytest.mark.usefixtures('nevergrad')
def test_the_loss_is_called_as_often_as_the_budget_says():
  calls = []

  def loss(weights):
    calls.append(weights)
    assert weights.shape == (4,) and np.abs(weights).max() <= 0.7
    return quadratic(weights)

  found = searching.search(loss, 4, budget=40, limit=0.7)
  assert len(calls) == 40
  np.testing.assert_array_equal(calls[0], 0)
  # The best under the limit is at it.
  assert found[3] > 0.6 and quadratic(found) < 0.5 * quadratic(np.zeros(4))


@pytest.mark.usefixtures('nevergrad')
def test_a_penalty_keeps_weights_that_help_little_at_zero():
  # The slope of the loss is below that of the penalty.
  found = searching.search(
    lambda w: 0.01 * abs(w[0] - 1), 1, budget=40, penalty=0.05
  )
  assert abs(found[0]) < 1e-3


@pytest.mark.usefixtures('nevergrad')
def test_one_seed_finds_one_answer():
  first, second = (
    searching.search(quadratic, 4, budget=30, seed=3) for _ in range(2)
  )
  np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures('nevergrad')
def test_a_loss_that_is_not_finite_is_avoided():
  found = searching.search(
    lambda w: quadratic(w) if w[0] < 0.5 else math.nan, 4, budget=60
  )
  assert found[0] < 0.5 and quadratic(found) < quadratic(np.zeros(4))
  with pytest.raises(UserError, match='none before it was finite'):
    searching.search(lambda w: math.inf, 4)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'num_experts': 0}, 'num_experts = 0'),
    ({'budget': 0}, 'budget = 0'),
    ({'limit': 0.0}, 'above 0'),
    ({'penalty': -1.0}, 'at least 0'),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(UserError, match=message):
    searching.search(quadratic, **{'num_experts': 4, **options})


def test_without_nevergrad_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'nevergrad', None)
  with pytest.raises(UserError, match=r"pip install 'moe_lite\[library\]'"):
    searching.search(quadratic, 4)
