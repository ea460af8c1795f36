"""A warning about rates that train nothing."""

import pytest

from moe_lite.training import optimizers, rates


def test_rates_are_summed_over_all_steps():
  constant = optimizers.constant(0.01, warmup_steps=0)
  assert rates.reach(constant, 50) == pytest.approx(0.5)
  decaying = optimizers.inverse_square_root(1.0, warmup_steps=100)
  assert rates.reach(decaying, 100) == pytest.approx(10.0)


def test_the_default_rate_warns_in_a_short_run_and_not_in_a_long_one():
  default = optimizers.constant(3e-4)
  assert 'sum to 0.06' in rates.warning(default, 200)
  assert 'moe_lite.sweep ablations/rate.gin' in rates.warning(default, 200)
  assert rates.warning(default, 500_000) is None
  assert rates.warning(optimizers.constant(0.03), 200) is None
