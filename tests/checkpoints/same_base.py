"""The check that a path holds the tiny base, whatever its form."""

import numpy as np

from moe_lite.checkpoints import bases
from moe_lite.core import parameters
from tests import tiny


def assert_is_the_base(path, wanted=None):
  """Loads it, and compares every bit."""
  abstract = wanted or tiny.model({}).abstract_variables()['params']
  params, info = bases.load_base(path, abstract)
  expected = parameters.flatten(tiny.base_params())
  found = parameters.flatten(parameters.unstack_layers(params))
  assert found.keys() == expected.keys() and info.source == path
  for name, leaf in expected.items():
    np.testing.assert_array_equal(found[name], leaf)
  assert info.fingerprint == parameters.fingerprint(tiny.base_params())
