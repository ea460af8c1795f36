"""A routed mixture with its routers fixed, in formulas."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.checkpoints import fixed_routers
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.routing.statistics import Usage, usages
from moe_lite.t5 import Transformer
from moe_lite.t5.description import (
  describe_method,
  from_json,
  to_json,
)
from tests import tiny
from tests.convert.mixtures import ROUTERS, E, draw, mixtures


def collapsed(model, params, weights):
  """Model and parameters with fixed routers."""
  trained, base = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  network, plain = fixed_routers.collapse(
    model.module.config, parameters.unstack_layers(trained), weights
  )
  plain = parameters.like_network(plain, network.scan_layers)
  return (
    EncoderDecoderModel(Transformer(network)),
    parameters.merge(plain, base),
  )


def measured(model, params, batch):
  """Mean weights of every router over a batch."""
  statistics = jax.jit(model.routing_batch)(params, batch)
  return fixed_routers.mean_weights({'all': usages(statistics)})


@pytest.mark.parametrize(
  'router, scan_layers', [('soft', False), ('top-2 as released', True)]
)
def test_a_constant_router_collapses_to_equal_logits(router, scan_layers):
  """With zero kernels the weights are those of every token."""
  model = tiny.model(mixtures(ROUTERS[router]), scan_layers, layers=1)
  params, batch = draw(model, kernel=0.0), tiny.batch()
  weights = measured(model, params, batch)
  for p in weights.values():
    np.testing.assert_allclose(p[p > 0], 1 / E, rtol=1e-6)
    assert np.count_nonzero(p) == (E if router == 'soft' else 2)
  plain, plain_params = collapsed(model, params, weights)
  routed = jax.jit(model.logits)(params, batch)
  assert np.abs(routed).max() > 0.1
  np.testing.assert_allclose(
    jax.jit(plain.logits)(plain_params, batch), routed, atol=1e-5, rtol=1e-5
  )
  assert not any('router' in x for x in parameters.flatten(plain_params))
  network = plain.module.config
  assert describe_method(from_json(to_json(network))) == describe_method(
    network
  )
  assert describe_method(network)['query'] == 'LoRA(rank=6, alpha=9.0)'


def test_formulas_are_those_of_one_token():
  """Fixed at a token's own weights, an expert is the mixture of that token."""
  rng = np.random.default_rng(1)
  site = adapters.Site('key', ('embed',), ('embed',))
  x, y = (jnp.asarray(rng.normal(size=(1, 1, 4)), 'f4') for _ in range(2))
  context = routing.Context()
  for name in ('key', 'query'):
    for router in ROUTERS.values():
      factory = mixtures(router)[name]
      mixture = factory(site=site, parent=None)
      variables = mixture.init(jax.random.key(0), x, y, context)
      params = jax.tree.map(
        lambda leaf: np.asarray(rng.normal(1, 1, leaf.shape), 'f4'),
        variables['params'],
      )
      wanted, sown = mixture.apply(
        {'params': params}, x, y, context, mutable=['routing']
      )
      place = f'encoder/layers_0/attention/{name}'
      network = dataclasses.replace(
        tiny.model({}).module.config, adapters={name: factory}
      )
      network, plain = fixed_routers.collapse(
        network,
        parameters.unflatten(
          {
            f'{place}_adapter/{path}': leaf
            for path, leaf in parameters.flatten(params).items()
          }
        ),
        {place: sown['routing']['router']['weight'][0]},
      )
      leaves = plain['encoder']['layers_0']['attention'][f'{name}_adapter']
      got = network.adapters[name](site=site, parent=None).apply(
        {'params': leaves}, x, y, context
      )
      np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  'standing, says',
  [
    ({'key': adapters.IA3}, 'Nothing is routed.*IA3 at key'),
    ({}, 'the adapters are none'),
  ],
)
def test_what_does_not_route_is_refused(standing, says):
  with pytest.raises(UserError, match=says):
    fixed_routers.check(tiny.model(standing).module.config)


def test_a_shared_decision_is_refused():
  shared = functools.partial(adapters.MoV, router=routing.SharedRouter)
  network = dataclasses.replace(
    tiny.model().module.config,
    adapters={'key': shared},
    decisions={'layer': routing.Decision},
  )
  with pytest.raises(UserError, match='share a decision cannot be collapsed'):
    fixed_routers.check(network)


def test_another_mixture_is_refused():
  class Mine(adapters.MoV):
    pass

  with pytest.raises(UserError, match='Mine at key cannot be collapsed'):
    fixed_routers.check(tiny.model({'key': Mine}).module.config)


def test_means_are_over_the_tokens_of_all_data_sets():
  few, many = (
    {'key': Usage(p, np.array(w), p, 0.0, tokens)}
    for p, w, tokens in (
      (np.zeros(2), [2.0, 0.0], 2.0),
      (np.ones(2), [0.0, 6.0], 6.0),
    )
  )
  means = fixed_routers.mean_weights({'few': few, 'many': many})
  np.testing.assert_allclose(means['key'], [0.25, 0.75])
