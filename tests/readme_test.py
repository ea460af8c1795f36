"""The adapter and the router that README shows do what it says."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite import adapters, routing
from moe_lite.core import partitioning
from moe_lite.t5.contract import observing, promises
from tests.adapters import contract_test
from tests.paths import ROOT

README = ROOT / 'README.md'


def shown(name):
  """The class of that name, from the block of README that defines it."""
  blocks = re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
  (block,) = [b for b in blocks if f'class {name}(' in b]
  names = {
    'adapters': adapters,
    'jnp': jnp,
    'nn': nn,
    'partitioning': partitioning,
    'routing': routing,
  }
  exec(block, names)
  return names[name]


def test_the_adapter_keeps_the_contract():
  sites = [observing.SITES[name] for name in contract_test.SHAPES]
  # A class that is made by `exec` belongs to no module to be built from.
  for result in promises.check(shown('Shift'), sites, [promises.REBUILT]):
    assert result.is_kept, (result.promise.name, result.broken)


def test_the_router_weighs_experts_and_keeps_the_identity():
  router = shown('Sharp')(num_experts=3)
  weights = router.select(jnp.array([0.5, 0.3, 0.2]))
  np.testing.assert_allclose(weights, np.array([25, 9, 4]) / 38, rtol=1e-6)
  x = jax.random.normal(jax.random.key(0), (2, 4, 8))
  mixed, _ = router.init_with_output(
    jax.random.key(1), x, 'embed', routing.Context()
  )
  np.testing.assert_allclose(mixed.sum(-1), 1.0, rtol=1e-6)
