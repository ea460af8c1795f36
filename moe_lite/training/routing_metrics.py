"""Whether experts are used, while a run trains.

The paper's experts collapse where batches are large (Zadouri et al., arXiv
2309.05444): few of them get all the weight, and the mixture is no mixture.
These numbers tell it when it happens, of every site and layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.types import Tree
from moe_lite.routing.statistics import by_router

# An expert is dead with less than this part of an equal share.
DEAD = 0.1


def of_routers(statistics: Tree) -> dict[str, dict[str, Any]]:
  """Measures of every router over all tokens that it saw.

  Args:
    statistics: sums over tokens, of a scanned network with layers in front.

  Returns:
    Router's name, such as 'encoder/layers_0/attention/key', to `entropy`, a
    token's over experts, in nats; `share` [E] of the experts in the mixtures'
    weight; `largest_share`; `dead_experts`, how many have less than `DEAD` of
    an equal share; and `from_uniform`, half of the sum over experts of
    `abs(share - 1 / E)`: 0 where all are used alike, 1 - 1 / E where one has
    everything.
  """
  measured = {}
  for router, sums in by_router(statistics).items():
    weight, tokens = np.asarray(sums['weight'], float), float(sums['tokens'])
    equal = 1 / len(weight)
    share = weight / max(weight.sum(), 1e-9)
    measured[router] = {
      'entropy': float(sums['entropy']) / max(tokens, 1.0),
      'largest_share': float(share.max()),
      'dead_experts': int((share < DEAD * equal).sum()),
      'from_uniform': float(np.abs(share - equal).sum() / 2),
      'share': [round(float(x), 5) for x in share],
    }
  return measured


def summary(routers: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
  """What a line of metrics says of all routers together."""
  column = lambda name: [x[name] for x in routers.values()]
  return {
    'routing_entropy': float(np.mean(column('entropy'))),
    'routing_largest_share': max(column('largest_share')),
    'routing_dead_experts': sum(column('dead_experts')),
    'routing_from_uniform': float(np.mean(column('from_uniform'))),
    'routing_collapsed': len(collapsed(routers)),
  }


def collapsed(routers: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
  """Routers most of whose experts are dead."""
  return [
    name
    for name, x in routers.items()
    if 2 * x['dead_experts'] > len(x['share'])
  ]


class Alarm:
  """Says that routers collapse: at the first, and whenever twice as many."""

  def __init__(self):
    self._said = 0

  def check(
    self, step: int, routers: Mapping[str, Mapping[str, Any]]
  ) -> str | None:
    """A warning, or None where there is nothing new."""
    names = collapsed(routers)
    if len(names) < max(1, 2 * self._said):
      return None
    self._said = len(names)
    worst = max(names, key=lambda name: routers[name]['from_uniform'])
    x = routers[worst]
    return (
      f'Warning: at step {step} most experts of {len(names)} of {len(routers)} '
      f'routers are hardly used. {worst}: {x["dead_experts"]} of '
      f'{len(x["share"])} have less than {DEAD:g} of an equal share, and one '
      f'has {x["largest_share"]:.0%}. Smaller batches, a lower LEARNING_RATE, '
      'LOAD_BALANCE or ENTROPY_BONUS keep them in use.'
    )
