"""What follows from how data sets are routed.

The measure of how much two data sets' routing differs is the Jensen-Shannon
divergence of their mean probabilities, in bits: 0 where they are equal, 1 where
they share no expert.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial import distance

from moe_lite.core.errors import UserError
from moe_lite.evaluation.routing_usage import Routing, Usage

Row = Mapping[str, str | float]


@dataclasses.dataclass(frozen=True, order=True)
class Place:
  """Where routers stand that differ in their layer alone.

  Attributes:
    stack: 'encoder' or 'decoder'.
    site: within a layer, such as 'attention/key'.
  """

  stack: str
  site: str


def place_of(router: str) -> tuple[Place, int]:
  """The place and the layer of 'encoder/layers_1/attention/key'.

  What decides for a whole stack, 'encoder/stack', counts as of layer 0.
  """
  stack, _, rest = router.partition('/')
  match = re.fullmatch(r'layers_(\d+)/(.+)', rest)
  if match is None:
    return Place(stack, rest), 0
  return Place(stack, match[2]), int(match[1])


def by_place(routers: Iterable[str]) -> dict[Place, list[str]]:
  """Routers of every place from the first layer to the last, encoder first."""
  places: dict[Place, list[str]] = defaultdict(list)
  for router in sorted(routers, key=lambda x: place_of(x)[1]):
    places[place_of(router)[0]].append(router)
  return {
    place: places[place]
    for place in sorted(places, key=lambda x: (x.stack != 'encoder', x))
  }


def choose(routers: Collection[str], pattern: str | None) -> list[str]:
  """Routers to look at closely, or none.

  Args:
    routers: their names.
    pattern: a regular expression, found anywhere in a name; None takes the last
      layer of every place.

  Raises:
    UserError: if it is none.
  """
  places = by_place(routers)
  if pattern is None:
    return [there[-1] for there in places.values()]
  try:
    fits = re.compile(pattern).search
  except re.error as error:
    raise UserError(
      f'--routers={pattern} is no regular expression: {error}.'
    ) from error
  return [x for there in places.values() for x in there if fits(x)]


def usage(routing: Routing) -> list[Row]:
  """Every data set, router and expert."""
  return [
    {
      'dataset': dataset,
      'router': router,
      'expert': expert,
      'probability': of.probability[expert] / of.tokens,
      'load': of.load[expert] / of.tokens,
      'tokens': of.tokens,
    }
    for dataset, usages in routing.items()
    for router, of in sorted(usages.items())
    for expert in range(len(of.probability))
  ]


def preferences(routing: Routing, router: str) -> np.ndarray:
  """Probability times E, [data sets, E]; 1 is what no preference gives."""
  means = _means(routing, router)
  return means * means.shape[1]


def entropies(routing: Routing, held_out: Collection[str]) -> list[Row]:
  """How sure a router is, and how evenly it uses its experts over all.

  Both of every data set, in shares of the most there can be, log E nats:
  `of_tokens` is the mean over tokens, `of_the_mean` that of the mean
  probabilities. A router that sends each token to one expert, and as many to
  each, has 0 and 1.
  """
  rows = []
  for dataset, usages in routing.items():
    for router, of in sorted(usages.items()):
      place, layer = place_of(router)
      most = np.log(max(2, len(of.probability)))
      rows.append(
        {
          'dataset': dataset,
          'held_out': dataset in held_out,
          'router': router,
          'stack': place.stack,
          'site': place.site,
          'layer': layer,
          'of_tokens': of.entropy / of.tokens / most,
          'of_the_mean': _entropy(_mean(of)) / most,
        }
      )
  return rows


def similarities(routing: Routing) -> tuple[list[str], np.ndarray, np.ndarray]:
  """Data sets by how they are routed, all routers together.

  Returns:
    Names in the order of the leaves of a tree of clusters (average linkage);
    their mean divergences over routers, bits, [N, N] in that order; and the
    tree, as scipy has it, over the data sets as `routing` has them.
  """
  names = list(routing)
  divergences = np.mean(
    [
      distance.squareform(_pairwise(_means(routing, router)))
      for router in routing[names[0]]
    ],
    0,
  )
  tree = hierarchy.linkage(distance.squareform(divergences), 'average')
  order = hierarchy.leaves_list(tree)
  return [names[i] for i in order], divergences[np.ix_(order, order)], tree


def shifts(
  routing: Routing, training: Sequence[str], held_out: Sequence[str]
) -> list[Row]:
  """How much held-out data sets are routed unlike those of the training.

  Of every router, in bits: `held_out`, the mean over held-out data sets of the
  divergence from the mean over training data sets; `training`, the same of each
  training data set from the mean of the others, which is what to expect of a
  data set that was trained on; NaN where there is but one.
  """
  rows = []
  for router in sorted(routing[training[0]]):
    place, layer = place_of(router)
    seen = _means({name: routing[name] for name in training}, router)
    unseen = _means({name: routing[name] for name in held_out}, router)
    among = [
      divergence(p, np.delete(seen, i, 0).mean(0))
      for i, p in enumerate(seen)
      if len(seen) > 1
    ]
    rows.append(
      {
        'router': router,
        'stack': place.stack,
        'site': place.site,
        'layer': layer,
        'held_out': np.mean([divergence(p, seen.mean(0)) for p in unseen]),
        'training': np.mean(among) if among else np.nan,
      }
    )
  return rows


def divergence(p: np.ndarray, q: np.ndarray) -> float:
  """Jensen-Shannon, in bits."""
  # Rounding may leave a tiny negative number, whose root scipy returns.
  return float(np.nan_to_num(distance.jensenshannon(p, q, 2)) ** 2)


def _pairwise(means: np.ndarray) -> np.ndarray:
  return distance.pdist(means, divergence)


def _means(routing: Routing, router: str) -> np.ndarray:
  """[data sets, E]."""
  return np.stack([_mean(usages[router]) for usages in routing.values()])


def _mean(of: Usage) -> np.ndarray:
  p = np.asarray(of.probability, np.float64)
  return p / p.sum()


def _entropy(p: np.ndarray) -> float:
  kept = p[p > 0]
  return float(-(kept * np.log(kept)).sum())
