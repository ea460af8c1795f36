"""Statistics that routers sowed, by router and summed over tokens."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from moe_lite.core import parameters
from moe_lite.core.types import ADAPTER_SUFFIX, Array, Tree

OF_EXPERTS = ('probability', 'weight', 'load', 'first')
"""The statistics that have a value for each expert."""
# How many axes stand after that of the examples, where there are any.
_AXES = {
  **dict.fromkeys((*OF_EXPERTS, 'task_entropy', 'task_tokens'), 1),
  'task_weight': 2,
}
_ROUTER = f'{ADAPTER_SUFFIX}/router'


def by_path(statistics: Tree) -> dict[str, dict[str, Array]]:
  """Maps the path of each router in the collection to its statistics."""
  routers: dict[str, dict[str, Array]] = {}
  leaves: dict[str, Any] = flatten_dict(statistics, sep='/')
  for path, leaf in leaves.items():
    router, _, name = path.rpartition('/')
    routers.setdefault(router, {})[name] = leaf
  return routers


def sum_examples(statistics: Mapping[str, Array]) -> dict[str, Array]:
  """Sums the statistics of one router over the examples of a batch.

  Args:
    statistics: from the name of a statistic to its values, such as
      [..., B, E] or [..., B].

  Returns:
    The same without the axis B.
  """
  return {
    name: x.sum(-1 - _AXES.get(name, 0)) for name, x in statistics.items()
  }


def sum_by_path(statistics: Tree) -> dict[str, dict[str, Array]]:
  """Sums the statistics of every router over the examples of a batch.

  Args:
    statistics: the collection `routing`.

  Returns:
    Paths of routers to their statistics, [..., E] or [...].
  """
  return {
    path: sum_examples(sown) for path, sown in by_path(statistics).items()
  }


def by_router(statistics: Tree) -> dict[str, dict[str, np.ndarray]]:
  """Maps the name of each router to its statistics.

  A network that scans stacks the routers of its layers. They are taken apart,
  so that a router has the same name in both forms of the network.

  Args:
    statistics: what `routing_batch` or `routing_tokens` of a model returned.

  Returns:
    Names such as 'encoder/layers_1/attention/key' to statistics by name.
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


@dataclasses.dataclass(frozen=True, eq=False)
class Usage:
  """How one router treated some tokens. Each field is a sum over the tokens.

  Attributes:
    probability: float [E], the probability of each expert.
    weight: float [E], the weight of each expert in the mixture.
    load: float [E], the number of tokens that use each expert.
    entropy: the entropy of a token's probabilities, in nats.
    tokens: the number of tokens.
  """

  probability: np.ndarray
  weight: np.ndarray
  load: np.ndarray
  entropy: float
  tokens: float

  def __add__(self, other: 'Usage') -> 'Usage':
    return Usage(
      self.probability + other.probability,
      self.weight + other.weight,
      self.load + other.load,
      self.entropy + other.entropy,
      self.tokens + other.tokens,
    )


# From the name of a data set to the name of a router, such as
# 'encoder/layers_1/attention/key', to the router's usage over the data set.
Routing = Mapping[str, Mapping[str, Usage]]


def usages(statistics: Tree) -> dict[str, Usage]:
  """Sums the statistics of a batch to the usage of each router.

  Args:
    statistics: what `routing_batch` of a model returned.

  Returns:
    Names of routers, as `by_router` gives them, to their usage.
  """
  found = {}
  for router, sums in by_router(statistics).items():
    totals = (sums[name].sum(0) for name in ('probability', 'weight', 'load'))
    entropy, tokens = (
      float(sums[name].sum()) for name in ('entropy', 'tokens')
    )
    found[router] = Usage(*totals, entropy=entropy, tokens=tokens)
  return found
