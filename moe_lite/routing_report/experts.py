"""What follows from experts' own parameters."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.core import parameters
from moe_lite.core.parameters import ADAPTER_SUFFIX
from moe_lite.core.types import Tree
from moe_lite.routing_report import numbers
from moe_lite.routing_report.numbers import Row
from moe_lite.t5.config import T5Config


def similarities(
  network: T5Config, params: Tree, pattern: str | None
) -> dict[str, np.ndarray]:
  """Cosines of what experts add to the base, [E, E], by where they stand.

  1 where two experts do the same, so that routing between them changes nothing;
  0 where they have nothing in common, and also of an expert that does nothing.

  Args:
    network: whose adapters they are.
    params: with the adapters, unrolled.
    pattern: of places such as 'encoder/layers_1/attention/key', as of
      `numbers.choose`; those are left out whose adapters do not compare their
      experts.
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
  return {place: found[place] for place in numbers.choose(found, pattern)}


def rows(found: Mapping[str, np.ndarray]) -> list[Row]:
  """Every router and pair of experts."""
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
