"""Data sets are clustered by their mean weights at all routers."""

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.library import usage_clusters
from moe_lite.library.usage_clusters import Clusters
from moe_lite.routing.statistics import Usage


def usage(weights, tokens=10.0):
  """One router's usage, by mean weights."""
  total = tokens * np.array(weights)
  return Usage(total, total, total, entropy=0.0, tokens=tokens)


def routing(**means):
  """Data set to the mean weights of its first expert at two routers."""
  return {
    name: {
      'encoder/key': usage([inner, 1 - inner], tokens=10.0 * (1 + i)),
      'decoder/key': usage([outer, 1 - outer]),
    }
    for i, (name, (inner, outer)) in enumerate(means.items())
  }


SETS = routing(a=(0.9, 0.5), b=(0.1, 0.5), c=(0.8, 0.5), d=(0.12, 0.5))


def test_vectors_are_means_over_tokens_side_by_side():
  found = usage_clusters.vectors(SETS, ['decoder/key', 'encoder/key'])
  np.testing.assert_allclose(found[0], [0.5, 0.5, 0.9, 0.1])
  np.testing.assert_allclose(found[1], [0.5, 0.5, 0.1, 0.9])


@pytest.mark.parametrize('seed', range(3))
def test_clusters_are_numbered_as_data_sets_name_them(seed):
  found = Clusters.of(SETS, 2, seed)
  assert found.labels.tolist() == [0, 1, 0, 1]
  assert found.members == {'static_0': ['a', 'c'], 'static_1': ['b', 'd']}
  assert found.experts['d'] == 'static_1'


def test_the_weights_of_a_cluster_are_means_over_its_tokens():
  found = Clusters.of(SETS, 2, 0).weights(['a', 'c'])
  # `c` has three times the tokens of `a`.
  want = (0.9 + 3 * 0.8) / 4
  np.testing.assert_allclose(found['encoder/key'], [want, 1 - want])


def test_another_data_set_gets_an_expert_by_the_encoder_alone():
  clusters = Clusters.of(SETS, 2, 0)
  others = routing(x=(0.7, 0.0), y=(0.3, 1.0))
  assert clusters.nearest(others) == {'x': 'static_0', 'y': 'static_1'}


def test_routers_of_the_decoder_choose_nothing():
  only = {x: {'decoder/key': of['decoder/key']} for x, of in SETS.items()}
  with pytest.raises(UserError, match='x have no expert of their own'):
    Clusters(only, np.zeros(4, int)).nearest(routing(x=(0.5, 0.5)))


@pytest.mark.parametrize('count', [0, 4, 5])
def test_as_many_clusters_as_data_sets_that_differ(count):
  sets = SETS | {'a': SETS['c']}
  equal = {
    x: {y: usage(u.weight / u.tokens) for y, u in of.items()}
    for x, of in sets.items()
  }
  with pytest.raises(UserError, match='of which 3 differ.*from 1 to 3'):
    Clusters.of(equal, count, 0)
  assert len(Clusters.of(equal, 3, 0).members) == 3
