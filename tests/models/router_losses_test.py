"""Auxiliary losses: right on unpadded tokens, additive, and of an effect."""

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
from moe_lite.models.router_losses import RouterLosses
from moe_lite.t5 import Transformer
from tests import tiny

E = 3
SITES = {
  'key': functools.partial(adapters.MoV, num_experts=E),
  'wo': functools.partial(
    adapters.MoLoRA, num_experts=E, router=routing.TopKRouter
  ),
}
WEIGHTS = {'load_balance': 0.3, 'router_z_loss': 0.2, 'entropy_bonus': 0.1}


# One decision for all adapters of a layer.
SHARED = {
  'adapters': {
    'key': functools.partial(
      adapters.MoV, num_experts=E, router=routing.SharedRouter
    )
  },
  'decisions': {'layer': functools.partial(routing.Decision, num_experts=E)},
}


def make(scan_layers=False, remat='none', network=None, **arguments):
  model = tiny.model(SITES, scan_layers, z_loss=0.0)
  config = dataclasses.replace(
    model.module.config, remat=remat, **(network or {})
  )
  return EncoderDecoderModel(Transformer(config), z_loss=0.0, **arguments)


def packed():
  """Rows of two examples each."""
  batch = {name: np.array(x) for name, x in tiny.batch(4).items()}
  for stack, tokens in (('encoder', 'input'), ('decoder', 'target')):
    ids = (batch[f'{stack}_{tokens}_tokens'] > 0).astype(np.int32)
    ids[:, 1:] += ids[:, 1:]
    batch[f'{stack}_segment_ids'] = ids
  return batch


def draw(model):
  """Parameters whose routers are far from uniform."""
  rng = np.random.default_rng(0)
  shapes = model.abstract_variables()['params']
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), jnp.float32), shapes
  )


def expected(model, params, batch):
  """The losses' values in NumPy, from every token's probabilities."""
  statistics = parameters.flatten(jax.jit(model.routing_tokens)(params, batch))
  values = {'load_balance': [], 'router_z_loss': [], 'router_entropy': []}
  for path, p in statistics.items():
    if not path.endswith('/probability'):
      continue
    layers = np.asarray(p) if '/layers/' in path else np.asarray(p)[None]
    reads_inputs = path.startswith('encoder') or 'encoder_decoder' in path
    if 'query' in path:
      reads_inputs = False
    name = 'encoder_input' if reads_inputs else 'decoder_target'
    mask = batch[f'{name}_tokens'] > 0
    for p in layers:
      tokens = p[mask].reshape(-1, E)
      share = np.eye(E)[tokens.argmax(-1)].mean(0)
      values['load_balance'].append(E * (share * tokens.mean(0)).sum())
      entropy = -(tokens * np.log(tokens)).sum(-1).mean()
      values['router_entropy'].append(entropy)
  return {name: np.mean(x) for name, x in values.items() if x}


@pytest.mark.parametrize('network', [None, SHARED])
@pytest.mark.parametrize(
  ('scan_layers', 'remat'), [(False, 'none'), (True, 'minimal')]
)
def test_losses_are_those_of_unpadded_tokens(scan_layers, remat, network):
  model = make(scan_layers, remat, network, **WEIGHTS)
  params, batch = draw(model), packed()
  loss, metrics = jax.jit(model.loss_fn)(params, batch)
  for name, value in expected(model, params, batch).items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5)
  np.testing.assert_allclose(
    loss,
    metrics['loss'] / model.loss_normalizer(batch)
    + 0.3 * metrics['load_balance']
    + 0.2 * metrics['router_z_loss']
    - 0.1 * metrics['router_entropy'],
    rtol=1e-5,
  )


@pytest.mark.slow
def test_parts_of_a_batch_add_up_to_it():
  model = make(**WEIGHTS)
  params, batch = draw(model), tiny.batch(8)
  trainable, base = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  normalizer = model.loss_normalizer(batch)

  @jax.jit
  def gradients(batch, routed):
    return jax.grad(
      lambda x: model.loss_fn(
        parameters.merge(x, base), batch, None, normalizer, routed
      ),
      has_aux=True,
    )(trainable)

  needed = jax.jit(model.routing_needed)
  # Unequal parts: each has another number of tokens.
  parts = [{k: x[i::2] for k, x in batch.items()} for i in (0, 1)]
  add = lambda a, b: jax.tree.map(jnp.add, a, b)
  routed = add(*(needed(params, part) for part in parts))
  whole = gradients(batch, needed(params, batch))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    add(*(gradients(part, routed) for part in parts)),
    whole,
  )


ROUTERS = {
  'soft': routing.SoftRouter,
  'top_1': functools.partial(routing.TopKRouter, k=1),
  'top_2': functools.partial(routing.TopKRouter, k=2),
}


def descend(router, losses, steps=300, scale=3.0):
  """Descends on the losses alone, from a collapse onto one expert.

  Returns:
    The router's means over tokens before and after.
  """
  router = router(num_experts=4, name='router')
  rng = np.random.default_rng(0)
  # The first feature is the same everywhere and leads to the first expert.
  x = jnp.asarray(rng.normal(size=(2, 32, 5)), jnp.float32).at[..., 0].set(1)
  kernel = jnp.asarray(rng.normal(0, 0.1, (5, 4)), jnp.float32)
  kernel = kernel.at[0, 0].set(scale)

  def sums(kernel):
    _, sown = router.apply(
      {'params': {'kernel': kernel}},
      x,
      'embed',
      routing.Context(),
      mutable=[routing.STATISTICS],
    )
    return routing.sum_examples(sown[routing.STATISTICS])

  def loss(kernel):
    params = {'router': {'kernel': kernel}}
    return losses(params, {'router': sums(kernel)})[0]

  @jax.jit
  def run(kernel):
    step = lambda kernel, _: (kernel - jax.grad(loss)(kernel), None)
    return jax.lax.scan(step, kernel, length=steps)[0]

  return tuple(
    {name: np.asarray(value) / 64 for name, value in sums(k).items()}
    for k in (kernel, run(kernel))
  )


@pytest.mark.parametrize('router', ROUTERS)
def test_a_load_balance_cures_a_collapse(router):
  before, after = descend(ROUTERS[router], RouterLosses(load_balance=1.0))
  assert before['first'].max() > 0.95 and before['probability'].max() > 0.8
  assert after['first'].max() < 0.4 and after['first'].min() > 0.1
  assert after['probability'].max() < 0.35


@pytest.mark.parametrize('router', ROUTERS)
def test_an_entropy_bonus_spreads_probabilities(router):
  before, after = descend(ROUTERS[router], RouterLosses(entropy_bonus=1.0))
  assert before['entropy'] < 0.7
  assert after['entropy'] > 0.98 * np.log(4)
  assert after['probability'].max() < 0.3


@pytest.mark.parametrize('router', ROUTERS)
def test_a_router_z_loss_keeps_logits_small(router):
  before, after = descend(
    ROUTERS[router], RouterLosses(router_z_loss=0.1), scale=20.0
  )
  assert before['square_logsumexp'] > 300
  # Its least value is that of a mean logit of -log E.
  assert after['square_logsumexp'] < 0.1


def test_off_nothing_is_sown(monkeypatch):
  sow = routing.BaseRouter.sow

  def refuse(router, collection, *arguments, **options):
    if collection == routing.STATISTICS:
      raise AssertionError('Statistics were computed.')
    return sow(router, collection, *arguments, **options)

  monkeypatch.setattr(routing.BaseRouter, 'sow', refuse)
  model = make()
  params = model.abstract_variables()['params']
  trace = lambda model: jax.eval_shape(model.loss_fn, params, tiny.batch())
  _, metrics = trace(model)
  assert set(metrics) == {'loss', 'z_loss', 'weight_sum', 'correct', 'tokens'}
  with pytest.raises(AssertionError, match='were computed'):
    trace(make(routing_metrics=True))


def test_statistics_cost_less_than_two_percent():
  """By XLA's count of every operation, of a layer as wide as T5 large's."""

  def operations(**arguments):
    config = dataclasses.replace(
      tiny.model().module.config,
      emb_dim=1024,
      num_heads=16,
      head_dim=64,
      mlp_dim=2816,
      num_encoder_layers=1,
      adapters={
        site: functools.partial(adapters.MoV, num_experts=30)
        for site in ('key', 'value', 'intermediate')
      },
    )
    model = EncoderDecoderModel(Transformer(config), **arguments)
    shapes = model.abstract_variables()['params']
    trained, base = parameters.split(shapes, parameters.TRAINABLE_ADAPTERS)
    loss = lambda x, base, batch: model.loss_fn(
      parameters.merge(x, base), batch
    )
    step = jax.jit(jax.grad(loss, has_aux=True))
    lowered = step.lower(trained, base, tiny.batch(2, length=64))
    return lowered.cost_analysis()['flops']

  share = operations(routing_metrics=True, **WEIGHTS) / operations() - 1
  print(f'{100 * share:.2f} %')
  assert 0 < share < 0.02


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'load_balance': -1}, 'LOAD_BALANCE = -1 must be'),
    ({'router_z_loss': float('nan')}, 'ROUTER_Z_LOSS = nan must be'),
    ({'entropy_bonus': '1'}, "ENTROPY_BONUS = '1' must be"),
    ({'entropy_bonus': 0.1}, 'ENTROPY_BONUS = 0.1 .* this method has none'),
    ({'routing_metrics': True}, 'ROUTING_METRICS = True .* has none'),
  ],
)
def test_mistakes_are_named(arguments, message):
  _check_mistake({'key': adapters.IA3}, arguments, message)


@pytest.mark.parametrize('router', ['UniformRouter', 'HashRouter'])
def test_a_loss_of_routers_that_learn_nothing_is_refused(router):
  sites = {
    'key': functools.partial(adapters.MoV, router=getattr(routing, router))
  }
  message = 'LOAD_BALANCE = 0.1 .* routers that learn, and this method has none'
  _check_mistake(sites, {'load_balance': 0.1}, message)


def _check_mistake(sites, arguments, message):
  with pytest.raises(UserError, match=message):
    model = tiny.model(sites, **arguments)
    params = model.abstract_variables()['params']
    jax.eval_shape(model.loss_fn, params, tiny.batch())
