"""int8 weights: what rounding costs, and that the network takes them."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from moe_lite.core import parameters, quantization
from moe_lite.core.errors import UserError
from moe_lite.t5 import layers
from tests import tiny


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('axis', [0, -1])
def test_values_are_within_half_a_step(axis):
  weight = draw(64, 48) * np.geomspace(1e-3, 1e3, 48)
  held = quantization.quantize(weight, axis)
  scale = held.scale.astype(np.float32)
  assert held.values.dtype == np.int8
  assert held.scale.dtype == ml_dtypes.bfloat16
  assert held.shape == weight.shape
  assert scale.size == weight.shape[1 + axis]
  error = np.abs(held.values * scale - weight)
  # Rounding the scale to bfloat16 may leave the largest value a little out.
  assert (error <= scale * 0.5 * (1 + 2**-7) + scale * 127 * 2**-8).all()
  inner = np.abs(weight) < 0.99 * np.abs(weight).max(axis, keepdims=True)
  assert (error <= scale * 0.501)[inner].all()


def test_zeros_stay_zeros():
  held = quantization.quantize(np.zeros((4, 3), np.float32), 0)
  assert not held.values.any() and not held.scale.any()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_products_and_rows_are_those_of_the_weight_it_stands_for(dtype):
  weight, x = draw(64, 48), draw(2, 5, 64, seed=1)
  held = quantization.quantize(weight, 0)
  stands_for = held.values * held.scale.astype(np.float32)
  tolerance = 1e-5 if dtype == 'float32' else 2**-6
  np.testing.assert_allclose(
    quantization.matmul(x, held, dtype).astype(jnp.float32),
    x.astype(dtype).astype(np.float32) @ stands_for,
    atol=tolerance * 8,
    rtol=tolerance,
  )
  table = quantization.quantize(weight, -1)
  rows = quantization.lookup(table, jnp.array([3, 0]), dtype)
  stands_for = (table.values * table.scale.astype(np.float32))[[3, 0]]
  np.testing.assert_allclose(
    rows.astype(jnp.float32), stands_for, rtol=tolerance, atol=1e-6
  )


def hold(dtype, scan_layers):
  held = {
    path: quantization.hold(path, leaf, dtype)
    for path, leaf in parameters.flatten(tiny.base_params()).items()
  }
  return parameters.like_network(parameters.unflatten(held), scan_layers)


@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
def test_a_network_takes_it(scan_layers):
  model = tiny.model({}, scan_layers=scan_layers)
  logits = {
    dtype: model.logits(hold(dtype, scan_layers), tiny.batch())
    for dtype in ('float32', 'int8')
  }
  error = jnp.linalg.norm(logits['int8'] - logits['float32'])
  assert 0 < error / jnp.linalg.norm(logits['float32']) < 0.03


def test_tied_logits_take_it():
  embed = layers.Embed(tiny.model({}).module.config)
  table, x = draw(384, 16), draw(2, 5, 16, seed=1)
  logits = [
    embed.apply({'params': {'embedding': held}}, x, method=embed.attend)
    for held in (table, quantization.quantize(table, -1))
  ]
  error = np.linalg.norm(logits[1] - logits[0]) / np.linalg.norm(logits[0])
  assert 0 < error < 0.01


def test_every_matrix_but_relative_positions_is_one_byte():
  leaves = parameters.flatten(hold('int8', True))
  other = {
    path for path, x in leaves.items() if not isinstance(x, quantization.Int8)
  }
  assert {path.rpartition('/')[2] for path in other} == {
    'scale',
    'rel_embedding',
  }
  weights = sum(x.nbytes for x in jax.tree.leaves(leaves))
  assert weights < 1.3 * parameters.count(tiny.base_params())


def test_other_types_are_refused():
  with pytest.raises(UserError, match="BASE_DTYPE = 'int4' must be one of"):
    quantization.check_dtype('int4')
