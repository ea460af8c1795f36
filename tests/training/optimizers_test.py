"""Adafactor as T5X runs it, and the schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.training import optimizers


def rms(x):
  return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize(
  'schedule, expected',
  [
    (optimizers.constant(0.5), [0.5, 0.5, 0.5]),
    (optimizers.constant(0.5, warmup_steps=10), [0.0, 0.25, 0.5]),
    (optimizers.inverse_square_root(1.0, 25), [0.2, 0.2, 0.1]),
    (optimizers.linear_warmup_inverse_square_root(1.0, 25), [0.0, 0.04, 0.1]),
  ],
)
def test_schedules_are_those_of_t5x(schedule, expected):
  rates = [float(schedule(jnp.int32(step))) for step in (0, 5, 100)]
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
  'warmup_steps, train_steps, expected',
  [
    (0, 150, [0.3, 0.29, 0.1]),
    (50, 200, [0, 0.03, 0.2]),
    (10, 90, [0, 0.15, 0]),
  ],
)
def test_a_linear_decay_ends_at_zero(warmup_steps, train_steps, expected):
  schedule = optimizers.linear_decay(0.3, warmup_steps, train_steps)
  rates = [float(schedule(jnp.int32(step))) for step in (0, 5, 100)]
  np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
  'make',
  [
    lambda: optimizers.constant(0.0),
    lambda: optimizers.constant(1, -1),
    lambda: optimizers.linear_decay(0.1, 5, 5),
  ],
)
def test_impossible_schedules_are_refused(make):
  with pytest.raises(UserError, match='LEARNING_RATE|WARMUP_STEPS'):
    make()


def adafactor_by_hand(values, grads, rate):
  """Two steps of T5X's unfactored Adafactor, in NumPy."""
  moments = np.zeros_like(values)
  for step, grad in enumerate(grads):
    decay = 1.0 - (step + 1.0) ** -0.8
    moments = decay * moments + (1 - decay) * (grad**2 + 1e-30)
    update = grad / np.sqrt(moments)
    update /= max(1.0, rms(update))
    values = values - rate * max(rms(values), 1e-3) * update
  return values


@pytest.mark.parametrize('scale', [1.0, 0.0], ids=['ones', 'zeros'])
def test_adapters_take_t5x_steps(scale):
  """From zeros, as LoRA's B, the floor of the parameter scale moves them."""
  rng = np.random.default_rng(0)
  start = np.full((130, 140), scale, np.float32)
  grads = [rng.normal(size=start.shape).astype(np.float32) for _ in range(3)]
  optimizer = optimizers.adafactor(optimizers.constant(3e-4))
  tree = lambda x: parameters.unflatten({'layers_0/key_adapter/b': x})
  values = tree(jnp.asarray(start))
  state = optimizer.init(values)
  for grad in grads:
    updates, state = optimizer.update(tree(jnp.asarray(grad)), state, values)
    values = optax.apply_updates(values, updates)
  expected = adafactor_by_hand(start, grads, 3e-4)
  moved = parameters.flatten(values)['layers_0/key_adapter/b']
  np.testing.assert_allclose(moved - start, expected - start, rtol=2e-3)
  assert rms(moved - start) > 0


def test_only_matrices_of_a_base_are_factored():
  shapes = {
    'encoder/layers_0/attention/key/kernel': (256, 128),
    'encoder/layers_0/attention/key_adapter/scale': (256, 128),
    'encoder/layers_0/attention/key_adapter/router/kernel': (128, 256),
    'encoder/relpos_bias/rel_embedding': (4, 32),
  }
  params = parameters.unflatten({k: jnp.ones(v) for k, v in shapes.items()})
  state = optimizers.adafactor(optimizers.constant(1.0)).init(params)
  sizes = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    for parameter in shapes:
      if name.endswith('/' + parameter):
        sizes.setdefault(parameter, []).append(leaf.size)
  assert {k: max(v) for k, v in sizes.items()} == {
    'encoder/layers_0/attention/key/kernel': 256,
    'encoder/layers_0/attention/key_adapter/scale': 256 * 128,
    'encoder/layers_0/attention/key_adapter/router/kernel': 256 * 128,
    'encoder/relpos_bias/rel_embedding': 4 * 32,
  }


def test_adamw_decays_weights():
  optimizer = optimizers.adamw(optimizers.constant(0.1), weight_decay=0.5)
  params = {'a_adapter': {'scale': jnp.ones(3)}}
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = optimizer.update(zeros, optimizer.init(params), params)
  np.testing.assert_allclose(updates['a_adapter']['scale'], -0.05 * np.ones(3))
