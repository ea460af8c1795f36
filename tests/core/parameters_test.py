"""Splitting, counting and reshaping the parameter tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.core import parameters
from moe_lite.core.errors import UserError


@pytest.fixture
def tree():
  rng = np.random.default_rng(0)
  layer = lambda: {
    'attention': {
      'key': {'kernel': rng.normal(size=(3, 4)).astype('f4')},
      'key_adapter': {'scale': rng.normal(size=(2, 2)).astype('f4')},
    },
    'gain': np.array(rng.normal(), 'f4'),
  }
  return {
    'token_embedder': {'embedding': rng.normal(size=(7, 3)).astype('f4')},
    # Twelve layers: 'layers_10' must not come before 'layers_2'.
    'encoder': {f'layers_{i}': layer() for i in range(12)},
  }


def assert_equal(a, b):
  a, b = parameters.flatten(a), parameters.flatten(b)
  assert a.keys() == b.keys()
  for path in a:
    np.testing.assert_array_equal(a[path], b[path])


def test_split_and_merge_are_inverse(tree):
  trainable, base = parameters.split(tree, parameters.TRAINABLE_ADAPTERS)
  paths = parameters.flatten(trainable)
  assert len(paths) == 12
  assert all('key_adapter/' in path for path in paths)
  assert not parameters.flatten(base).keys() & paths.keys()
  assert_equal(parameters.merge(trainable, base), tree)


def test_stack_and_unstack_are_inverse(tree):
  stacked = parameters.stack_layers(tree)
  kernel = stacked['encoder']['layers']['attention']['key']['kernel']
  assert kernel.shape == (3, 12, 4)
  np.testing.assert_array_equal(
    kernel[:, 10], tree['encoder']['layers_10']['attention']['key']['kernel']
  )
  assert stacked['encoder']['layers']['gain'].shape == (12,)
  assert_equal(parameters.unstack_layers(stacked), tree)
  # Each leaves its own form alone.
  assert_equal(parameters.stack_layers(stacked), stacked)
  assert_equal(parameters.unstack_layers(tree), tree)


def test_host_arrays_stay_on_the_host(tree):
  leaves = jax.tree.leaves(parameters.stack_layers(tree))
  assert all(isinstance(leaf, np.ndarray) for leaf in leaves)


def test_forms_convert_within_a_traced_step(tree):
  tree = jax.tree.map(jnp.asarray, tree)
  both = lambda t: parameters.unstack_layers(parameters.stack_layers(t))
  assert_equal(jax.jit(both)(tree), tree)


def test_a_pattern_that_matches_nothing_names_the_nearest(tree):
  with pytest.raises(UserError, match='matches none of 37 parameters'):
    parameters.split(tree, '.*_adaptor/.*')
  with pytest.raises(UserError, match='not a regular expression'):
    parameters.split(tree, '*')


def test_fingerprint_sees_every_change_but_not_the_form(tree):
  _, base = parameters.split(tree, parameters.TRAINABLE_ADAPTERS)
  first = parameters.fingerprint(base)
  assert parameters.fingerprint(parameters.stack_layers(base)) == first
  assert parameters.fingerprint(parameters.cast(base, 'float16')) != first
  base['token_embedder']['embedding'][0, 0] += 1e-3
  assert parameters.fingerprint(base) != first


def test_overview_counts_what_trains(tree):
  table = parameters.overview(tree, parameters.TRAINABLE_ADAPTERS)
  assert 'encoder/layers_*/attention/key_adapter/scale' in table
  assert '48 parameters train' in table
  total = parameters.count(tree)
  assert f"base's {total - 48:,}" in table
  everything = parameters.overview(tree, parameters.EVERYTHING)
  assert f'all {total:,} parameters train' in everything
