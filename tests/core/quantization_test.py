"""int8 weights: what rounding costs, and that the network takes them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from moe_lite.core import parameters, quantization
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.preflight import flops
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


def in_int8(scan_layers=False):
  """The same network, which multiplies int8 numbers."""
  model = tiny.model({}, scan_layers=scan_layers)
  config = dataclasses.replace(model.module.config, base_compute='int8')
  return EncoderDecoderModel(model.module.clone(config=config))


@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
def test_a_network_multiplies_in_it(scan_layers):
  base, model = hold('int8', scan_layers), in_int8(scan_layers)
  exact = tiny.model({}, scan_layers=scan_layers).logits(base, tiny.batch())
  logits = model.logits(base, tiny.batch())
  error = jnp.linalg.norm(logits - exact) / jnp.linalg.norm(exact)
  assert 0 < error < 0.05
  # `wo`, `out`, logits and attention multiply activations, and all else int8
  # numbers.
  count = functools.partial(flops.of_matmuls, model.logits)
  args = base, tiny.batch()
  of_int8 = count(*args, only_int8=True)
  rows, length = tiny.batch()['encoder_input_tokens'].shape
  targets = tiny.batch()['decoder_target_tokens'].shape[1]
  # Queries, keys and values; the decoder has keys and values of the inputs.
  of_one = 16 * 16
  of_mlp = 2 * 16 * 32
  of_tokens = length * (2 * (3 * of_one + of_mlp) + 2 * of_one)
  of_tokens += targets * (3 * of_one + of_one + of_mlp)
  assert of_int8 == 2 * rows * of_tokens


def test_only_a_base_in_int8_is_multiplied_in_it():
  with pytest.raises(
    UserError, match="BASE_COMPUTE = 'int8' multiplies a base"
  ):
    in_int8().logits(hold('float32', False), tiny.batch())


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


def outliers(x, size=50.0):
  """Activations as T5 has them: a few features are far larger than others."""
  x = x.copy()
  x[..., ::16] *= size
  return x


@pytest.mark.parametrize(
  'make, most', [(lambda x: x, 0.012), (outliers, 0.02)], ids=['even', 'heavy']
)
def test_int8_products_are_nearly_those_of_activations(make, most):
  x, weight = make(draw(32, 256, seed=1)), draw(256, 64)
  held = quantization.quantize(weight, 0)
  exact = quantization.matmul(x, held, 'float32')
  found = quantization.int8_matmul(x, held, jnp.dtype('float32'))
  error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
  print(f'relative error {error:.4f}')
  assert error < most


def test_the_gradient_of_int8_products_is_that_of_the_weight():
  x, weight, by = draw(2, 5, 64), draw(64, 48), draw(2, 5, 48, seed=2)
  held = quantization.quantize(weight, 0)
  dtype = jnp.dtype('float32')

  def gradient(function):
    return jax.grad(lambda x: (function(x, held, dtype) * by).sum())(x)

  np.testing.assert_allclose(
    gradient(quantization.int8_matmul),
    gradient(quantization.matmul),
    rtol=1e-5,
    atol=1e-5,
  )


def test_int8_products_of_nothing_are_nothing():
  held = quantization.quantize(draw(8, 4), 0)
  found = quantization.int8_matmul(
    jnp.zeros((3, 8)), held, jnp.dtype('float32')
  )
  assert not found.any()
