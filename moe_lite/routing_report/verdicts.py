"""In a word, what each router does: it specialises, is uniform, or collapsed.

The word follows from how surely tokens choose experts, and from how evenly all
tokens together use them. Every data set counts the same. It says what routers
do, and not whether that helps: for this, compare accuracies.
"""

import collections
from collections.abc import Sequence

import numpy as np

from moe_lite.routing.statistics import Routing
from moe_lite.routing_report.places import by_place, place_of
from moe_lite.routing_report.rows import Row
from moe_lite.training.routing_metrics import DEAD

SPECIALISED, UNIFORM = 'specialised', 'uniform'
COLLAPSED, BETWEEN = 'collapsed', 'in between'

# Entropies are shares of the greatest that there can be, log E. A router is
# uniform if a token's entropy is at least the first. It is specialised if a
# token's entropy is lower by at least the second than that of the mean over
# all tokens.
EVEN = 0.95
SURER = 0.1

# What each word means, in the order in which it is looked for.
MEANINGS = {
  COLLAPSED: (
    f'more than half of its experts get less than {DEAD:.0%} of an equal share '
    'of the weight of all tokens'
  ),
  UNIFORM: (
    f'the entropy of a token is at least {EVEN:g} of the greatest possible, so '
    'that nearly all experts serve every token alike'
  ),
  SPECIALISED: (
    f'the entropy of a token is lower by at least {SURER:g} of the greatest '
    'possible than that of the mean over all tokens, so that different tokens '
    'have different experts'
  ),
  BETWEEN: (
    'none of these: its preferences are weak, or alike for nearly all tokens'
  ),
}


def judge(routing: Routing) -> list[Row]:
  """A row for every router, with its word and what it follows from.

  `of_tokens` is the entropy of a token's probabilities, and `of_the_mean` that
  of the mean probabilities of all tokens, as shares of log E. `surer` is what
  the first is lower than the second. `hardly_used` is the number of experts
  that get less than a tenth of an equal share of the weight.
  """
  rows: list[Row] = []
  there = next(iter(routing.values()))
  for routers in by_place(there).values():
    for router in routers:
      seen = [usages[router] for usages in routing.values()]
      experts = len(seen[0].probability)
      greatest = np.log(max(2, experts))
      of_tokens = np.mean([x.entropy / x.tokens for x in seen]) / greatest
      mean = np.mean([x.probability / x.probability.sum() for x in seen], 0)
      share = np.mean([x.weight / x.weight.sum() for x in seen], 0)
      of_the_mean = -np.sum(mean * np.log(np.maximum(mean, 1e-30))) / greatest
      dead = int((share < DEAD / experts).sum())
      place, layer = place_of(router)
      rows.append(
        {
          'router': router,
          'stack': place.stack,
          'site': place.site,
          'layer': layer,
          'verdict': _word(experts, dead, of_tokens, of_the_mean),
          'of_tokens': float(of_tokens),
          'of_the_mean': float(of_the_mean),
          'surer': float(of_the_mean - of_tokens),
          'experts': experts,
          'hardly_used': dead,
        }
      )
  return rows


def headline(rows: Sequence[Row]) -> str:
  """Says how many routers there are of each word.

  Args:
    rows: what `judge` returned.
  """
  counts = collections.Counter(str(row['verdict']) for row in rows)
  n = len(rows)
  return (
    f'Of {n} router{"s" if n > 1 else ""}, {counts[SPECIALISED]} specialised, '
    f'{counts[UNIFORM]} stayed uniform, {counts[COLLAPSED]} collapsed, and '
    f'{counts[BETWEEN]} {"is" if counts[BETWEEN] == 1 else "are"} in between.'
  )


def _word(experts: int, dead: int, of_tokens: float, of_the_mean: float) -> str:
  if 2 * dead > experts:
    return COLLAPSED
  if of_tokens >= EVEN:
    return UNIFORM
  return SPECIALISED if of_the_mean - of_tokens >= SURER else BETWEEN
