"""Metrics from step to step: sums, means, and what nobody named."""

import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.models.metrics import Reduction
from moe_lite.training import train_step
from moe_lite.training.meter import Meter
from tests import tiny

BATCH = {
  'encoder_input_tokens': jnp.ones((2, 6), jnp.int32),
  'decoder_target_tokens': jnp.ones((2, 4), jnp.int32),
}
STEP = {
  'loss': 6.0,
  'z_loss': 0.5,
  'weight_sum': 3.0,
  'correct': 2.0,
  'tokens': 4.0,
  'normalizer': 2.0,
  'nonpadding': 10.0,
  'grad_norm': 1.0,
  'update_norm': 2.0,
  'learning_rate': 0.1,
}


def reductions():
  return {**train_step.REDUCTIONS, **tiny.model().reductions}


def step(**changes):
  return {name: jnp.float32(x) for name, x in {**STEP, **changes}.items()}


def read(*steps, **more):
  meter = Meter(BATCH, {**reductions(), **more})
  for values in steps:
    meter.add(values)
  return meter.read()


def test_sums_add_up_and_means_are_averaged():
  scalars, routing = read(step(), step(loss=3.0, grad_norm=3.0, correct=4.0))
  assert scalars['loss'] == pytest.approx(9 / 6)
  assert scalars['normalized_loss'] == pytest.approx(9 / 4)
  assert scalars['accuracy'] == pytest.approx(6 / 8)
  assert scalars['grad_norm'] == pytest.approx(2)
  assert scalars['target_tokens'] == pytest.approx(4)
  assert scalars['nonpadding_fraction'] == pytest.approx(20 / 40)
  assert routing == {}


def test_auxiliary_losses_are_averaged_over_steps():
  scalars, _ = read(step(load_balance=1.0), step(load_balance=2.0))
  assert scalars['load_balance'] == pytest.approx(1.5)


def test_metrics_of_a_model_of_ones_own_are_reported():
  scalars, _ = read(
    step(mine=1.0, seen=2.0),
    step(mine=2.0, seen=3.0),
    mine=Reduction.MEAN,
    seen=Reduction.SUM,
  )
  assert scalars['mine'] == pytest.approx(1.5) and scalars['seen'] == 5


def test_a_metric_that_nothing_names_is_an_error():
  with pytest.raises(ValueError, match="'mine' .*reductions"):
    read(step(mine=1.0))


def test_statistics_of_routers_add_up():
  sown = {'encoder/router': {'tokens': jnp.ones(3)}}
  _, routing = read({**step(), 'routing': sown}, {**step(), 'routing': sown})
  np.testing.assert_array_equal(routing['encoder/router']['tokens'], [2, 2, 2])


def test_the_clock_starts_anew_with_every_line():
  meter = Meter(BATCH, reductions())
  meter.add(step())
  meter.read()
  meter.add(step(loss=3.0))
  scalars, _ = meter.read()
  assert scalars['loss'] == pytest.approx(1)


@pytest.mark.parametrize('name', ['loss', 'grad_norm', 'update_norm'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_the_first_step_that_is_not_finite_is_found(name, value):
  meter = Meter(BATCH, reductions())
  for values in (step(), step(**{name: value}), step(loss=np.nan)):
    meter.add(values)
  back, found = meter.not_finite()
  assert back == 1
  np.testing.assert_equal(found[name], value)
  assert found['learning_rate'] == np.float32(0.1)


def test_finite_steps_are_nothing_to_stop_for():
  meter = Meter(BATCH, reductions())
  assert meter.not_finite() is None
  meter.add(step())
  assert meter.not_finite() is None
