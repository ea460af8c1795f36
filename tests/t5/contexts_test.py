"""Routers that read more than a token's own vector, in a whole network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, parameters, routing
from moe_lite.models import EncoderDecoderModel
from moe_lite.t5 import Transformer
from tests.t5.network_test import FIRST, SECOND, config, rows

E = 3


def mov(router, **fields):
  return functools.partial(
    adapters.MoV, num_experts=E, router=functools.partial(router, **fields)
  )


SITES = {
  'key': mov(routing.SoftRouter, sentence='inputs'),
  'value': mov(routing.HashRouter),
  'wo': functools.partial(
    adapters.MoLoRA,
    num_experts=E,
    rank=2,
    router=functools.partial(routing.TopKRouter, k=1, sentence='encoded'),
  ),
}


@functools.cache
def build(**changes):
  changes = {'num_decoder_layers': 1, **changes}
  network = dataclasses.replace(config(adapters=SITES), **changes)
  return EncoderDecoderModel(Transformer(network))


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
    build().abstract_variables()['params'],
  )


@functools.cache
def logits_fn(**changes):
  return jax.jit(build(**changes).logits)


def test_packed_examples_are_routed_apart(params):
  both = logits_fn()(params, rows(FIRST, SECOND))[0]
  alone = logits_fn()(params, rows(FIRST))[0]
  np.testing.assert_allclose(both[:3], alone[:3], atol=1e-5)
  alone = logits_fn()(params, rows(SECOND))[0]
  np.testing.assert_allclose(both[3:7], alone[:4], atol=1e-5)
  plain = {k: x for k, x in rows(SECOND).items() if 'segment' not in k}
  plain = jax.jit(build().logits)(params, plain)[0]
  np.testing.assert_allclose(plain[:4], alone[:4], atol=1e-5)


def test_scan_and_remat_route_alike(params):
  changes = {'scan_layers': True, 'remat': 'minimal'}
  own = parameters.like_network(params, True)
  batch = rows(FIRST, SECOND)
  np.testing.assert_allclose(
    logits_fn(**changes)(own, batch), logits_fn()(params, batch), atol=1e-5
  )


def test_a_sentence_is_the_mean_of_unpadded_tokens(params):
  batch = rows(FIRST, SECOND)
  batch = {k: x for k, x in batch.items() if 'segment' not in k}
  model = build()
  found = parameters.flatten(jax.jit(model.routing_tokens)(params, batch))
  encoded = jax.jit(model.encode)(params, batch['encoder_input_tokens'])
  leaves = parameters.flatten(params)
  ids = np.asarray(batch['encoder_input_tokens'])[0]
  embedded = np.asarray(leaves['token_embedder/embedding'])[ids]
  means = {
    'key': embedded[ids > 0].mean(0),
    'wo': np.asarray(encoded)[0][ids > 0].mean(0),
  }
  for path, p in found.items():
    router, _, name = path.rpartition('/')
    if name != 'probability' or 'value_adapter' in router:
      continue
    site = 'key' if 'key_adapter' in router else 'wo'
    # The encoder's own routers have nothing encoded yet.
    mean = means['key' if router.startswith('encoder') else site]
    x = mean / np.sqrt(np.square(mean).mean())
    want = np.exp(x @ np.asarray(leaves[f'{router}/kernel']))
    want = np.broadcast_to(want / want.sum(), p.shape)
    np.testing.assert_allclose(p, want, rtol=1e-4, err_msg=router)


def test_decoding_routes_as_training_does(params):
  ids = np.array([[5, 6, 7, 8, 0], [9, 11, 0, 0, 0]], np.int32)
  batch = {
    'encoder_input_tokens': ids,
    'decoder_input_tokens': np.zeros((2, 6), np.int32),
  }
  model = build()
  outputs = np.asarray(jax.jit(model.predict_batch)(params, batch))
  assert (outputs[:, 0] > 0).all()
  batch['decoder_input_tokens'] = np.pad(outputs, ((0, 0), (1, 0)))[:, :-1]
  # Positions after the end have no target, and are not compared.
  batch['decoder_target_tokens'] = outputs
  logits = jax.jit(model.logits)(params, batch)
  np.testing.assert_array_equal(
    np.where(outputs > 0, logits.argmax(-1), 0), outputs
  )


def test_choices_are_scored_as_rows_are(params):
  batch = {k: x for k, x in rows(FIRST).items() if 'segment' not in k}
  model = build()
  inputs = batch['encoder_input_tokens']
  scores = jax.jit(model.score_choices)(
    params,
    jax.jit(model.encode)(params, inputs),
    inputs,
    batch['decoder_input_tokens'][:, None],
    batch['decoder_target_tokens'][:, None],
  )
  np.testing.assert_allclose(
    scores[:, 0], jax.jit(model.score_batch)(params, batch), rtol=1e-5
  )


def test_a_context_that_lacks_what_a_router_needs_is_named():
  router = routing.HashRouter(num_experts=E)
  with pytest.raises(ValueError, match="HashRouter needs 'tokens'"):
    router.apply({}, jnp.zeros((1, 2, 3)), 'embed', routing.Context())
