"""Routers that read more than a token's own vector, in a whole network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from moe_lite.t5.positions import Source, make_context
from tests.t5.network_test import FIRST, SECOND, config, rows

E = 3


def mov(router, **fields):
  return functools.partial(
    adapters.MoV, num_experts=E, router=functools.partial(router, **fields)
  )


SENTENCES = {
  'key': mov(routing.SoftRouter, sentence='inputs'),
  'value': mov(routing.HashRouter),
  'wo': functools.partial(
    adapters.MoLoRA,
    num_experts=E,
    rank=2,
    router=functools.partial(routing.TopKRouter, k=1, sentence='encoded'),
  ),
}
SHARED = {
  'key': mov(routing.SharedRouter),
  'out': mov(routing.SharedRouter),
  'wo': functools.partial(
    adapters.MoLoRA, num_experts=E, rank=2, router=routing.SharedRouter
  ),
}
DECISION = functools.partial(routing.Decision, num_experts=E)
CASES = {
  'sentences and ids': {'adapters': SENTENCES},
  'shared by a layer': {'adapters': SHARED, 'decisions': {'layer': DECISION}},
  'shared by a stack': {
    'adapters': SHARED,
    'decisions': {
      'stack': functools.partial(
        DECISION, router=functools.partial(routing.TopKRouter, k=2)
      )
    },
  },
}


@functools.cache
def build(case, **changes):
  changes = {'num_decoder_layers': 1, **CASES[case], **changes}
  network = dataclasses.replace(config(), **changes)
  return EncoderDecoderModel(Transformer(network))


@functools.cache
def draw(case):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
    build(case).abstract_variables()['params'],
  )


@functools.cache
def logits_fn(case, **changes):
  return jax.jit(build(case, **changes).logits)


every_case = pytest.mark.parametrize('case', CASES)


@every_case
def test_packed_examples_are_routed_apart(case):
  params = draw(case)
  both = logits_fn(case)(params, rows(FIRST, SECOND))[0]
  alone = logits_fn(case)(params, rows(FIRST))[0]
  np.testing.assert_allclose(both[:3], alone[:3], atol=1e-5)
  alone = logits_fn(case)(params, rows(SECOND))[0]
  np.testing.assert_allclose(both[3:7], alone[:4], atol=1e-5)
  plain = {k: x for k, x in rows(SECOND).items() if 'segment' not in k}
  plain = jax.jit(build(case).logits)(params, plain)[0]
  np.testing.assert_allclose(plain[:4], alone[:4], atol=1e-5)


@every_case
def test_scan_and_remat_route_alike(case):
  params = draw(case)
  changes = {'scan_layers': True, 'remat': 'minimal'}
  own = parameters.like_network(params, True)
  batch = rows(FIRST, SECOND)
  np.testing.assert_allclose(
    logits_fn(case, **changes)(own, batch),
    logits_fn(case)(params, batch),
    atol=1e-5,
  )


def test_a_sentence_is_the_mean_of_unpadded_tokens():
  case = 'sentences and ids'
  params = draw(case)
  batch = rows(FIRST, SECOND)
  batch = {k: x for k, x in batch.items() if 'segment' not in k}
  model = build(case)
  found = parameters.flatten(jax.jit(model.routing_tokens)(params, batch))
  encoded = jax.jit(model.encode)(params, batch)
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


@every_case
def test_decoding_routes_as_training_does(case):
  params = draw(case)
  ids = np.array([[5, 6, 7, 8, 0], [9, 11, 0, 0, 0]], np.int32)
  batch = {
    'encoder_input_tokens': ids,
    'decoder_input_tokens': np.zeros((2, 6), np.int32),
  }
  model = build(case)
  outputs = np.asarray(jax.jit(model.predict_batch)(params, batch))
  assert (outputs[:, 0] > 0).all()
  batch['decoder_input_tokens'] = np.pad(outputs, ((0, 0), (1, 0)))[:, :-1]
  # Positions after the end have no target, and are not compared.
  batch['decoder_target_tokens'] = outputs
  logits = jax.jit(model.logits)(params, batch)
  np.testing.assert_array_equal(
    np.where(outputs > 0, logits.argmax(-1), 0), outputs
  )


@every_case
def test_choices_are_scored_as_rows_are(case):
  params = draw(case)
  batch = {k: x for k, x in rows(FIRST).items() if 'segment' not in k}
  model = build(case)
  scores = jax.jit(model.score_choices)(
    params,
    jax.jit(model.encode)(params, batch),
    batch,
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


def test_a_decision_reads_what_enters_and_is_all_that_routes():
  case = 'shared by a layer'
  params, model = draw(case), build(case)
  leaves = parameters.flatten(params)
  kernels = [path for path in leaves if path.endswith('router/kernel')]
  assert all('/layer_adapter/router' in path for path in kernels)
  assert len(kernels) == 3  # Two layers of the encoder, one of the decoder.
  batch = {k: x for k, x in rows(FIRST).items() if 'segment' not in k}
  sown = parameters.flatten(jax.jit(model.routing_tokens)(params, batch))
  first = 'encoder/layers_0/layer_adapter/router'
  ids = np.asarray(batch['encoder_input_tokens'])
  x = np.asarray(leaves['token_embedder/embedding'])[ids]
  x = x / np.sqrt(np.square(x).mean(-1, keepdims=True))
  want = np.exp(x @ np.asarray(leaves[f'{first}/kernel']))
  want /= want.sum(-1, keepdims=True)
  np.testing.assert_allclose(sown[f'{first}/probability'], want, rtol=1e-4)
  # Every decision matters: that of the last encoder layer, and the decoder's.
  before = logits_fn(case)(params, batch)
  for path in kernels:
    changed = parameters.unflatten({**leaves, path: -leaves[path]})
    assert np.abs(logits_fn(case)(changed, batch) - before).max() > 1e-4


@every_case
def test_the_base_is_unchanged_at_initialisation(case):
  model = build(case)
  shapes = dict.fromkeys(
    ('encoder_input_tokens', 'decoder_input_tokens'), (1, 8)
  )
  params = jax.jit(
    lambda key: model.get_initial_variables(key, shapes)['params']
  )(jax.random.key(0))
  bare = EncoderDecoderModel(
    Transformer(
      dataclasses.replace(model.module.config, adapters={}, decisions={})
    )
  )
  _, base = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  batch = rows(FIRST, SECOND)
  np.testing.assert_array_equal(
    logits_fn(case)(params, batch), jax.jit(bare.logits)(base, batch)
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'decisions': {}}, 'share a decision, but DECISIONS makes none'),
    ({'adapters': {'key': adapters.IA3}}, 'that no router shares'),
    (
      {'decisions': {'row': DECISION}},
      "decisions at row: give one, at 'layer'",
    ),
    (
      {'decisions': {'layer': DECISION, 'stack': DECISION}},
      'decisions at layer, stack',
    ),
    (
      {
        'decisions': {
          'layer': functools.partial(
            DECISION,
            router=functools.partial(routing.TopKRouter, renormalize=False),
          )
        }
      },
      'TopKRouter with RENORMALIZE = False cannot be shared',
    ),
    ({'decisions': None}, 'DECISIONS = None must map'),
    ({'decisions': {'layer': None}}, 'DECISIONS = .*must map'),
    (
      {'decisions': {'layer': functools.partial(routing.SoftRouter, 3)}},
      "a SoftRouter at 'layer': give @routing.Decision",
    ),
    (
      {
        'decisions': {
          'layer': functools.partial(DECISION, router=routing.SharedRouter)
        }
      },
      'SHARED_ROUTER = SharedRouter cannot make a decision',
    ),
  ],
)
def test_decisions_and_routers_belong_together(changes, message):
  network = build('shared by a layer').module.config
  with pytest.raises(UserError, match=message):
    dataclasses.replace(network, **changes)


def test_experts_must_be_as_many():
  network = build('shared by a layer').module.config
  decisions = {'layer': functools.partial(routing.Decision, num_experts=E + 1)}
  model = EncoderDecoderModel(
    Transformer(dataclasses.replace(network, decisions=decisions))
  )
  with pytest.raises(UserError, match='NUM_EXPERTS = 3 at a site.* over 4'):
    model.abstract_variables()


def test_a_row_that_is_not_packed_has_one_task():
  tokens = jnp.array([[5, 6, 0], [7, 0, 0]])
  numbers = jnp.array([[2, 2, 0], [1, 0, 0]])
  segments = jnp.array([[1, 2, 0], [1, 0, 0]])

  def task(segments, numbers_here):
    source = Source(tokens, tokens > 0, segments, task_ids=numbers)
    given = ({'task'}, tokens > 0, tokens, segments, source, lambda ids: ids)
    return make_context(*given, numbers_here).task.tolist()

  assert task(None, numbers) == task(None, None) == [[2], [1]]
  assert task(segments, numbers) == numbers.tolist()
