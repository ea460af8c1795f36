"""Similarity of experts, against what they add to the base written out."""

import functools

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.core import parameters
from moe_lite.routing_report import experts
from tests import tiny

E = 3


def similarities(adapter, site='key', scan_layers=False):
  model = tiny.model({site: adapter}, scan_layers=scan_layers)
  rng = np.random.default_rng(0)
  params = {
    path: rng.normal(1, 0.5, leaf.shape)
    for path, leaf in parameters.flatten(
      parameters.unstack_layers(_zeros(model))
    ).items()
  }
  tree = parameters.unflatten(params)
  return params, experts.similarities(model.module.config, tree, '')


def _zeros(model):
  shapes = parameters.flatten(model.abstract_variables()['params'])
  return parameters.unflatten(
    {path: np.zeros(x.shape, np.float32) for path, x in shapes.items()}
  )


def cosines(updates):
  flat = updates.reshape(len(updates), -1)
  flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
  return flat @ flat.T


@pytest.mark.parametrize('site', ['key', 'intermediate'])
def test_vectors_are_compared_by_their_distance_from_one(site):
  params, found = similarities(
    functools.partial(adapters.MoV, num_experts=E), site
  )
  assert found
  for router, got in found.items():
    scale = params[f'{router}_adapter/scale']
    np.testing.assert_allclose(got, cosines(scale - 1), atol=1e-5)


def test_low_rank_pairs_are_compared_by_their_products():
  params, found = similarities(
    functools.partial(adapters.MoLoRA, num_experts=E, rank=2)
  )
  for router, got in found.items():
    a, b = (params[f'{router}_adapter/{name}'] for name in 'ab')
    np.testing.assert_allclose(got, cosines(a @ b), atol=1e-5)


def test_an_expert_that_does_nothing_is_like_no_other():
  network = tiny.model(
    {'key': functools.partial(adapters.MoV, num_experts=2)}
  ).module.config
  router = 'encoder/layers_0/attention/key'
  params = {
    'encoder': {
      'layers_0': {
        'attention': {'key_adapter': {'scale': np.array([[1.0, 1], [2, 1]])}}
      }
    }
  }
  found = experts.similarities(network, params, None)
  np.testing.assert_array_equal(found[router], [[0, 0], [0, 1]])
  assert len(experts.rows(found)) == 4


def test_adapters_that_do_not_compare_are_left_out():
  class Mine(adapters.MoV):
    def expert_products(self, params):
      return None

  _, found = similarities(functools.partial(Mine, num_experts=E))
  assert found == {}
