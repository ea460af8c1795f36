"""MoLoRA works in rank space: no expert's whole output is ever built."""

import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.adapters import MoLoRA
from moe_lite.core import parameters
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

# Such that what experts write, [B, L, E, D], outgrows all else in the program.
B, L, E, R, D, F = 2, 7, 5, 3, 32, 48
SITES = ('query', 'key', 'value', 'out', 'wi_0', 'wo')


class NaiveMoLoRA(MoLoRA):
  """Every expert's output, then their mean: what the released code does."""

  @nn.compact
  def __call__(self, inputs, outputs, context):
    x, in_axis = adapters.joined(inputs, self.site.in_axes)
    y, _ = adapters.joined(outputs, self.site.out_axes)
    router = self.router(num_experts=self.num_experts, name='router')
    p = router(x, in_axis, context) * (self.alpha / self.rank)
    shape = (self.num_experts, x.shape[-1], self.rank)
    a = self.param('a', self.a_init, shape)
    shape = (self.num_experts, self.rank, y.shape[-1])
    b = self.param('b', nn.initializers.zeros, shape)
    every = jnp.einsum('bld,edr,ero->bleo', x, a, b)
    return (y + jnp.einsum('ble,bleo->blo', p, every)).reshape(outputs.shape)


def largest(adapter):
  """Elements of the largest array in a training step's two programs."""
  config = T5Config(
    vocab_size=32,
    emb_dim=D,
    num_heads=2,
    head_dim=16,
    mlp_dim=F,
    num_encoder_layers=1,
    num_decoder_layers=1,
    adapters=dict.fromkeys(
      SITES, functools.partial(adapter, num_experts=E, rank=R)
    ),
  )
  model = EncoderDecoderModel(Transformer(config))
  shapes = model.abstract_variables()['params']
  trainable, base = parameters.split(shapes, parameters.TRAINABLE_ADAPTERS)
  ids = np.ones((B, L), np.int32)
  batch = {
    'encoder_input_tokens': ids,
    'decoder_input_tokens': ids,
    'decoder_target_tokens': ids,
    'decoder_loss_weights': ids,
  }

  def gradients(trainable, base):
    loss = lambda t: model.loss_fn(parameters.merge(t, base), batch)[0]
    return jax.grad(loss)(trainable)

  lowered = jax.jit(gradients).lower(trainable, base)
  as_lowered = re.findall(r'tensor<([\dx]+)x[a-z]', lowered.as_text())
  compiled = re.findall(r'\b[fsu]\w*\[([\d,]+)\]', lowered.compile().as_text())
  return [
    max(math.prod(map(int, re.split('[x,]', shape))) for shape in shapes)
    for shapes in (as_lowered, compiled)
  ]


def test_no_array_holds_every_expert_s_output():
  assert max(largest(MoLoRA)) < B * L * E * D


def test_the_naive_form_would_be_seen():
  assert largest(NaiveMoLoRA)[0] >= B * L * E * D


def sites(features):
  """The sites of a network of so many features, in heads of four."""
  return T5Config(
    **dict.fromkeys(('emb_dim', 'mlp_dim'), features),
    num_heads=features // 4,
    head_dim=4,
    vocab_size=32,
    num_encoder_layers=1,
    num_decoder_layers=1,
    adapters={},
  ).sites


@pytest.mark.parametrize('site', SITES)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_copies_of_lora_are_equal_to_it_bit_for_bit(site, dtype):
  of_site = sites(64)[site]
  one = adapters.LoRA(of_site, rank=4, name='x')
  many = MoLoRA(of_site, num_experts=10, rank=4, name='x')
  rng = np.random.default_rng(0)
  sizes = {'heads': 16, 'kv': 4}
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
  x = draw(2, 9, *(sizes.get(axis, 64) for axis in of_site.in_axes))
  y = draw(2, 9, *(sizes.get(axis, 64) for axis in of_site.out_axes))
  leaves = jax.tree.map(
    lambda leaf: np.float32(rng.normal(size=leaf.shape)),
    one.init(jax.random.key(0), x, y, routing.Context())['params'],
  )
  grown = many.begin_from(one, leaves)
  grown['router'] = {'kernel': np.float32(rng.normal(size=(64, 10)))}
  apply = lambda adapter, params: jax.jit(
    lambda params: adapter.apply({'params': params}, x, y, routing.Context())
  )(params)
  found, wanted = apply(many, grown), apply(one, leaves)
  np.testing.assert_array_equal(found, wanted)
  assert np.abs(np.float32(wanted) - np.float32(y)).max() > 1


@pytest.mark.parametrize('site', SITES)
def test_rank_space_equals_the_sum_over_experts(site):
  adapter = MoLoRA(sites(8)[site], num_experts=3, rank=2, name='x')
  rng = np.random.default_rng(0)
  sizes = {'embed': 8, 'mlp': 8, 'heads': 2, 'kv': 4, 'joined_kv': 8}
  draw = lambda axes: rng.normal(size=(2, 3, *(sizes[a] for a in axes)))
  x, y = draw(adapter.site.in_axes), draw(adapter.site.out_axes)
  x, y = np.float32(x), np.float32(y)
  context = routing.Context()
  params = jax.tree.map(
    lambda leaf: np.float32(rng.normal(size=leaf.shape)),
    adapter.init(jax.random.key(0), x, y, context)['params'],
  )
  flat_x, flat_y = x.reshape(2, 3, -1), y.reshape(2, 3, -1)
  p = jax.nn.softmax(flat_x @ params['router']['kernel'])
  for e in range(3):
    update = flat_x @ params['a'][e] @ params['b'][e]
    flat_y = flat_y + 16.0 / 2 * p[..., e : e + 1] * update
  mixed = adapter.apply({'params': params}, x, y, context)
  np.testing.assert_allclose(
    mixed.reshape(2, 3, -1), flat_y, rtol=1e-4, atol=1e-4
  )
