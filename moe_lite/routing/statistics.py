"""What routers sowed, by router."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from moe_lite.core import parameters
from moe_lite.core.types import Array, Tree

# The statistics that have a value for each expert.
OF_EXPERTS = ('probability', 'weight', 'load', 'first')
_ROUTER = f'{parameters.ADAPTER_SUFFIX}/router'


def by_path(statistics: Tree) -> dict[str, dict[str, Array]]:
  """The path of a router to what it sowed, as in the collection `routing`."""
  routers: dict[str, dict[str, Array]] = {}
  leaves: dict[str, Any] = flatten_dict(statistics, sep='/')
  for path, leaf in leaves.items():
    router, _, name = path.rpartition('/')
    routers.setdefault(router, {})[name] = leaf
  return routers


def sum_examples(statistics: Mapping[str, Array]) -> dict[str, Array]:
  """One router's statistics, [..., B, E] or [..., B], without the axis B."""
  return {
    name: x.sum(-2 if name in OF_EXPERTS else -1)
    for name, x in statistics.items()
  }


def by_router(statistics: Tree) -> dict[str, dict[str, np.ndarray]]:
  """Router's name to what it sowed; those of a scanned network by layer.

  Args:
    statistics: what `models.routing_batch` or `models.routing_tokens` gave.
  """
  routers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
  for path, leaf in parameters.flatten(statistics).items():
    router, _, name = path.rpartition('/')
    router = router.removesuffix(_ROUTER)
    if '/layers/' not in router:
      routers[router][name] = np.asarray(leaf)
      continue
    for i, layer in enumerate(np.asarray(leaf)):
      routers[router.replace('/layers/', f'/layers_{i}/')][name] = layer
  return dict(routers)
