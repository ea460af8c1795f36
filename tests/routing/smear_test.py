"""SMEAR's router: its released code's probabilities, by example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from tests.adapters.mixing import draw, golden, update, weigh


@functools.cache
def smear():
  return golden('smear_layer')


def standardised(x):
  x = x.astype(np.float64)
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)


@functools.cache
def leaves():
  """Their router, whose learned norms are parts of our kernel and bias."""
  of = {
    name.removeprefix('router/'): leaf
    for name, leaf in smear().items()
    if name.startswith('router/')
  }
  rows = standardised(of['kernel'].T) * of['kernel_norm_scale']
  rows = rows + of['kernel_norm_bias']
  kernel = rows.T * of['input_norm_scale'][:, None]
  return {
    'kernel': np.float32(kernel),
    'bias': np.float32(rows @ of['input_norm_bias']),
  }


def router():
  return routing.SmearRouter(num_experts=4)


def masks():
  mask = smear()['padded/mask'] > 0
  assert not mask.all()
  return {'': np.ones_like(mask), 'padded/': mask}


def probabilities(stack, kind):
  name = f'{kind}{stack}_probs' if kind else f'{stack}/probs'
  want = smear()[name]
  # The norms' biases and scales matter, and no expert has everything.
  assert want.std(0).max() > 0.02 and want.max() < 0.95
  return want


every_kind = pytest.mark.parametrize('kind', ['', 'padded/'])


@every_kind
def test_the_encoder_routes_by_the_mean_of_what_a_site_reads(kind):
  x, example = smear()['encoder/x'], masks()[kind][:, None]
  got = weigh(router(), leaves(), x, routing.Context(example=example))
  assert got.shape == (3, 1, 4)
  want = probabilities('encoder', kind)
  np.testing.assert_allclose(got[:, 0], want, atol=1e-5)


@every_kind
def test_the_decoder_routes_by_the_mean_of_what_the_encoder_wrote(kind):
  of, mask = smear(), masks()[kind]
  encoded, want = of['encoder/x'], probabilities('decoder', kind)
  mean = np.stack(
    [row[is_token].mean(0) for row, is_token in zip(encoded, mask, strict=True)]
  )
  context = routing.Context(sentence_encoded=mean[:, None])
  got = weigh(router(), leaves(), of['decoder/x'], context)
  np.testing.assert_allclose(got[:, 0], want, atol=1e-5)
  # The network scales that mean. The norm takes the scale away again, but for
  # its epsilon.
  scaled = routing.sentence(jnp.asarray(encoded), jnp.asarray(mask[:, None]))
  context = routing.Context(sentence_encoded=scaled)
  got = weigh(router(), leaves(), of['decoder/x'], context)
  np.testing.assert_allclose(got[:, 0], want, atol=1e-4)


def test_the_context_of_a_stack_says_what_is_read():
  assert router().needs == {'example', 'sentence_encoded'}
  with pytest.raises(ValueError, match="needs 'sentence_encoded'"):
    weigh(router(), leaves(), smear()['decoder/x'])


@every_kind
def test_mov_is_the_vector_that_is_averaged_for_each_example(kind):
  x, scale = smear()['encoder/x'], draw(4, 16)
  site = adapters.Site('wo', ('mlp',), ('embed',))
  mixture = adapters.MoV(site, num_experts=4, router=routing.SmearRouter)
  context = routing.Context(example=masks()[kind][:, None])
  p = weigh(router(), leaves(), x, context)
  want = x * np.einsum('bqe,eo->bqo', p, scale)
  params = {'scale': scale, 'router': leaves()}
  got = mixture.apply({'params': params}, x, x, context)
  np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_heads_of_mov_are_averaged_apart():
  y, scale = draw(2, 5, 3, 4), draw(6, 3, 4, seed=1)
  site = adapters.Site('key', ('embed',), ('heads', 'kv'))
  mixture = adapters.MoV(site, num_experts=6, router=routing.SmearRouter)
  own = {'kernel': draw(4, 6, seed=2), 'bias': draw(6, seed=3)}
  params = {'scale': scale, 'router': own}
  context = routing.Context(example=np.ones((2, 1, 5), bool))
  logits = standardised(y.mean(1)) @ own['kernel'] + own['bias']
  p = np.asarray(jax.nn.softmax(logits))
  want = y * np.einsum('bhe,ehk->bhk', p, scale)[:, None]
  got = mixture.apply({'params': params}, y, y, context)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
  # In the decoder all heads are routed by the vector of the example.
  own['kernel'] = draw(7, 6, seed=4)
  vector = draw(2, 1, 7, seed=5)
  context = routing.Context(sentence_encoded=vector)
  logits = standardised(vector[:, 0]) @ own['kernel'] + own['bias']
  p = np.asarray(jax.nn.softmax(logits))
  want = y * np.einsum('be,ehk->bhk', p, scale)[:, None]
  got = mixture.apply({'params': params}, y, y, context)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_packed_row_is_its_examples_alone():
  first, second = smear()['encoder/x'][:2]
  lengths = [4, 2]
  packed = np.concatenate([first[:4], second[:2], 9 * second[:2]])[None]
  segments = np.array([1] * 4 + [2] * 2 + [0] * 2)
  example = (segments[:, None] == segments) & (segments > 0)
  context = routing.Context(example=example[None])
  a, b = draw(4, 16, 3, seed=1), draw(4, 3, 5, seed=2)
  mix = functools.partial(
    update,
    a=a,
    b=b,
    router=routing.SmearRouter,
    leaves=leaves(),
    averages=True,
  )
  weights = weigh(router(), leaves(), packed, context)
  assert weights.shape == (1, 8, 4)
  outputs, at = mix(packed, context=context), 0
  for length in lengths:
    part = slice(at, at + length)
    row = packed[:, part]
    alone = routing.Context(example=np.ones((1, 1, length), bool))
    want = weigh(router(), leaves(), row, alone)
    np.testing.assert_allclose(
      weights[:, part], want.repeat(length, 1), atol=1e-6
    )
    np.testing.assert_allclose(
      outputs[:, part], mix(row, context=alone), rtol=1e-5, atol=1e-5
    )
    at += length
  assert np.abs(weights[0, 0] - weights[0, 4]).max() > 0.02
