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
    share = _share(weight)
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


def of_tasks(
  statistics: Tree, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
  """Measures how the tokens of every task used the experts.

  Args:
    statistics: see `of_routers`.
    names: the names of the tasks, in the order of their numbers.

  Returns:
    A dict that maps the name of each task that had tokens to its measures:

      tokens    how many tokens it had, as an average router saw them
      entropy   the mean entropy of a token's weights over all routers, in nats
      from_all  half of the sum over experts of the difference between the
                expert's share of this task's weight and its share of all
                weight, as a mean over routers. It is 0 if the task uses experts
                as all tasks do, and near 1 if it has experts of its own
      share     the part of its weight that each expert got, for each router
  """
  by_task: dict[str, dict[str, Any]] = {}
  routers = {
    router: {name: np.asarray(x, float) for name, x in sums.items()}
    for router, sums in by_router(statistics).items()
    if 'task_tokens' in sums
  }
  for i, task in enumerate(names):
    seen = {r: sums for r, sums in routers.items() if sums['task_tokens'][i]}
    if not seen:
      continue
    tokens = {r: sums['task_tokens'][i] for r, sums in seen.items()}
    share = {r: _share(sums['task_weight'][i]) for r, sums in seen.items()}
    entropy = [sums['task_entropy'][i] / tokens[r] for r, sums in seen.items()]
    apart = [
      np.abs(share[r] - _share(sums['weight'])).sum() / 2
      for r, sums in seen.items()
    ]
    by_task[task] = {
      'tokens': float(np.mean(list(tokens.values()))),
      'entropy': float(np.mean(entropy)),
      'from_all': float(np.mean(apart)),
      'share': {r: [round(float(x), 5) for x in s] for r, s in share.items()},
    }
  return by_task


def summary_of_tasks(
  tasks: Mapping[str, Mapping[str, Any]],
) -> dict[str, float]:
  """Returns what a line of metrics says about all tasks together.

  Args:
    tasks: the measures of every task; see `of_tasks`.
  """
  if not tasks:
    return {}
  apart = [x['from_all'] for x in tasks.values()]
  return {'routing_from_all_tasks': float(np.mean(apart))}


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


def _share(weight: np.ndarray) -> np.ndarray:
  """The part of all weight that each expert got."""
  return weight / max(weight.sum(), 1e-9)


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
