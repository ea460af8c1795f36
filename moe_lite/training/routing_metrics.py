"""Measures whether a run that trains uses its experts.

In the paper, experts collapse if batches are large (Zadouri et al., arXiv
2309.05444): a few of them get all the weight, and the mixture mixes nothing.
The measures below show this for every site and layer while it happens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.types import Tree
from moe_lite.routing.statistics import by_router

# An expert is dead if its share is less than this part of an equal share.
DEAD = 0.1


def of_routers(statistics: Tree) -> dict[str, dict[str, Any]]:
  """Measures how every router used its experts.

  Args:
    statistics: sums over all tokens that the routers saw. Those of a network
      that scans over its layers have an axis of layers in front.

  Returns:
    A dict that maps the name of each router, such as
    'encoder/layers_0/attention/key', to its measures:

      entropy        the mean entropy of a token's weights, in nats
      share          the part of all weight that each expert got, a list [E]
      largest_share  the largest of these parts
      dead_experts   how many experts got less than `DEAD` of an equal share
      from_uniform   half of the sum over experts of `abs(share - 1 / E)`; it is
                     0 if all experts are used alike, and 1 - 1 / E if one of
                     them gets everything
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
  """Returns what a line of metrics says about all routers together.

  Args:
    routers: the measures of every router; see `of_routers`.
  """
  column = lambda name: [x[name] for x in routers.values()]
  return {
    'routing_entropy': float(np.mean(column('entropy'))),
    'routing_largest_share': max(column('largest_share')),
    'routing_dead_experts': sum(column('dead_experts')),
    'routing_from_uniform': float(np.mean(column('from_uniform'))),
    'routing_collapsed': len(collapsed(routers)),
  }


def collapsed(routers: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
  """Returns the names of the routers with more than half of the experts dead.

  Args:
    routers: the measures of every router; see `of_routers`.
  """
  return [
    name
    for name, x in routers.items()
    if 2 * x['dead_experts'] > len(x['share'])
  ]


class Alarm:
  """Warns when routers collapse.

  It warns when the first router collapses, and again whenever twice as many
  have collapsed as at the last warning.
  """

  def __init__(self):
    self._said = 0

  def check(
    self, step: int, routers: Mapping[str, Mapping[str, Any]]
  ) -> str | None:
    """Returns a warning, or None if there is nothing new.

    Args:
      step: how many steps are done.
      routers: the measures of every router; see `of_routers`.
    """
    names = collapsed(routers)
    if len(names) < max(1, 2 * self._said):
      return None
    self._said = len(names)
    worst = max(names, key=lambda name: routers[name]['from_uniform'])
    x = routers[worst]
    return (
      f'Warning: at step {step} most experts of {len(names)} of {len(routers)} '
      f'routers are hardly used. In {worst}, {x["dead_experts"]} of '
      f'{len(x["share"])} experts get less than {DEAD:g} of an equal share, '
      f'and one gets {x["largest_share"]:.0%} of the weight. Smaller batches, '
      'a lower LEARNING_RATE, LOAD_BALANCE or ENTROPY_BONUS keep experts in '
      'use.'
    )
