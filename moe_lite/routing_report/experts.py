"""What follows from the parameters of experts."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.core import parameters
from moe_lite.core.types import ADAPTER_SUFFIX, Tree
from moe_lite.routing_report.places import choose
from moe_lite.routing_report.rows import Row
from moe_lite.t5.config import T5Config


def similarities(
  network: T5Config, params: Tree, pattern: str | None
) -> dict[str, np.ndarray]:
  """How alike the experts of an adapter are.

  The measure is the cosine of what two experts add to the base. It is 1 where
  both do the same, so that routing between them changes nothing. It is 0 where
  they have nothing in common, and also for an expert that does nothing.

  Args:
    network: the network that has the adapters.
    params: the parameters of the adapters, unrolled.
    pattern: which adapters to look at, such as that which stands at
      'encoder/layers_1/attention/key'; see `places.choose`. Adapters that do
      not compare their experts are left out.

  Returns:
    Where an adapter stands to the cosines of its experts, [E, E].
  """
  leaves: dict[str, dict[str, Any]] = defaultdict(dict)
  for path, leaf in parameters.flatten(params).items():
    place, is_adapter, name = path.partition(f'{ADAPTER_SUFFIX}/')
    if is_adapter:
      leaves[place][name] = leaf
  found = {}
  for site, adapter in network.standing().items():
    for place, there in leaves.items():
      if place.rpartition('/')[2] == site:
        products = adapter.expert_products(there)
        if products is not None:
          found[place] = _cosines(np.asarray(products, np.float64))
  return {place: found[place] for place in choose(found, pattern)}


def rows(found: Mapping[str, np.ndarray]) -> list[Row]:
  """A row for every router and pair of experts."""
  return [
    {'router': router, 'expert': i, 'other': j, 'cosine': cosines[i, j]}
    for router, cosines in found.items()
    for i in range(len(cosines))
    for j in range(len(cosines))
  ]


def _cosines(products: np.ndarray) -> np.ndarray:
  lengths = np.sqrt(np.diag(products))
  scale = np.outer(lengths, lengths)
  return np.divide(products, scale, np.zeros_like(products), where=scale > 0)
