"""Clusters are those of mttl, and families of experts are found again."""

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.library import clustering
from tests.paths import ROOT

GOLDEN = ROOT / 'tests' / 'golden' / 'library' / 'mttl_mbc.npz'


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as file:
    return dict(file)


def vectors(golden):
  return clustering.flatten({'x/a': golden['a'], 'x/b': golden['b']})


def families(labels):
  """Which experts share a cluster, whatever its number."""
  return labels[:, None] == labels[None]


def test_the_largest_fifth_is_kept_as_in_mttl(golden):
  sparse = clustering.sparsify(vectors(golden))
  np.testing.assert_array_equal(sparse, golden['sparse'])
  assert np.count_nonzero(sparse[0]) == 0.2 * sparse.shape[1]


@pytest.mark.parametrize('dimensions', [64, 5])
def test_embeddings_are_those_of_mttl(golden, dimensions):
  embedded = clustering.embed(vectors(golden), dimensions)
  expected = golden[f'svd_{dimensions}/embeddings']
  # The sign of a singular vector is arbitrary.
  signs = np.sign((embedded * expected).sum(0))
  np.testing.assert_allclose(embedded * signs, expected, atol=2e-5)
  np.testing.assert_allclose(
    embedded @ embedded.T, golden[f'svd_{dimensions}/similarity'], atol=2e-5
  )


@pytest.mark.parametrize('dimensions', [64, 5])
def test_clusters_are_those_of_mttl(golden, dimensions):
  labels = clustering.cluster(vectors(golden), 4, dimensions)
  expected = golden[f'svd_{dimensions}/labels']
  np.testing.assert_array_equal(families(labels), families(expected))


def test_families_are_found_and_numbered_in_order():
  random = np.random.default_rng(0)
  of_family = np.array([0, 1, 0, 2, 1, 2, 0])
  centers = random.normal(size=(3, 500))
  # Length says nothing: only directions are compared.
  lengths = random.uniform(0.1, 10, size=(7, 1))
  x = lengths * (centers[of_family] + 0.3 * random.normal(size=(7, 500)))
  labels = clustering.cluster(x, 3)
  np.testing.assert_array_equal(labels, of_family)
  np.testing.assert_array_equal(clustering.cluster(x, 7), np.arange(7))
  np.testing.assert_array_equal(clustering.cluster(x, 1), np.zeros(7))


def test_more_experts_than_dimensions_and_many_numbers():
  x = np.random.default_rng(1).normal(size=(9, 2**18 + 3)).astype(np.float32)
  embedded = clustering.embed(x, 4)
  u, s, _ = np.linalg.svd(clustering.sparsify(x), full_matrices=False)
  expected = (u * s)[:, :4]
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(
    embedded @ embedded.T, expected @ expected.T, atol=1e-4
  )


def test_leaves_are_laid_side_by_side_in_the_order_of_their_paths():
  a, b = np.ones((2, 3, 4)), np.zeros((2, 5))
  flat = clustering.flatten({'y/b': b, 'x/a': a})
  np.testing.assert_array_equal(flat, [[1] * 12 + [0] * 5] * 2)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'num_clusters': 4}, 'between 1 and 3'),
    ({'num_clusters': 0}, 'between 1 and 3'),
    ({'kept': 0.0}, 'above 0 and at most 1'),
    ({'dimensions': 0}, 'at least 1'),
  ],
)
def test_mistakes(options, message):
  x = np.random.default_rng(0).normal(size=(3, 10))
  with pytest.raises(UserError, match=message):
    clustering.cluster(x, **{'num_clusters': 2, **options})


def test_an_expert_of_zeros_is_refused():
  x = np.random.default_rng(0).normal(size=(3, 10))
  x[1] = 0
  with pytest.raises(UserError, match=r'\[1\] have only zeros'):
    clustering.cluster(x, 2)
