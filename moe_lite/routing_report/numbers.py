"""What follows from how data sets are routed.

How much the routing of two data sets differs is measured by the Jensen-Shannon
divergence of their mean probabilities, in bits. It is 0 where these are equal,
and 1 where the data sets share no expert.

With few examples the divergence is above 0 even where two data sets are routed
alike. The divergence of two halves of the examples of one data set shows how
far. It is called noise here. It is measured, because tokens of one text are not
independent draws, and their number alone does not tell it.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial import distance

from moe_lite.routing.statistics import Routing, Usage
from moe_lite.routing_report.places import place_of
from moe_lite.routing_report.rows import Row

# From the name of a data set and of a router to a divergence in bits.
Noise = Mapping[str, Mapping[str, float]]


def usage(routing: Routing) -> list[Row]:
  """A row for every data set, router and expert."""
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
  """The mean probabilities of a router times E, [data sets, E].

  A router without a preference gives 1 to each of its E experts.
  """
  means = _means(routing, router)
  return means * means.shape[1]


def entropies(routing: Routing, held_out: Collection[str]) -> list[Row]:
  """How sure routers are, and how evenly they use their experts.

  There is a row for every data set and router, with two entropies as shares of
  the greatest that there can be, log E nats: `of_tokens` is the mean entropy of
  the probabilities of a token, and `of_the_mean` is the entropy of the mean
  probabilities over the data set. A router that sends each token to one expert,
  and equally many tokens to each expert, has 0 and 1.
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


def together(halves: Sequence[Routing]) -> Routing:
  """The routing of data sets of which parts were measured apart."""
  found: dict[str, dict[str, Usage]] = {}
  for half in halves:
    for dataset, usages in half.items():
      sums = found.setdefault(dataset, {})
      for router, of in usages.items():
        sums[router] = sums[router] + of if router in sums else of
  return found


def noise(halves: Sequence[Routing]) -> Noise:
  """How differently two halves of a data set are routed.

  Args:
    halves: the routing of the first half of the examples, and of the second if
      there is one.

  Returns:
    For every data set and router, the divergence of the halves in bits. A data
    set of one example has no second half, and is left out.
  """
  if len(halves) < 2:
    return {}
  first, second = halves
  return {
    dataset: {
      router: divergence(_mean(of), _mean(second[dataset][router]))
      for router, of in usages.items()
    }
    for dataset, usages in first.items()
    if second.get(dataset)
  }


def similarities(
  routing: Routing, found_noise: Noise
) -> tuple[list[str], np.ndarray, np.ndarray]:
  """Which data sets are routed alike, over all routers.

  Args:
    routing: the routing of the data sets.
    found_noise: what `noise` found.

  Returns:
    The names of N data sets, in the order of the leaves of a tree of clusters
    (average linkage); their divergences in that order, averaged over routers,
    in bits, [N, N], with the noise of each on the diagonal, which is NaN where
    it is unknown; and the tree in scipy's form, whose leaves are numbered as
    `routing` lists the data sets.
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
  for i, name in enumerate(names):
    of = found_noise.get(name)
    divergences[i, i] = np.mean(list(of.values())) if of else np.nan
  return [names[i] for i in order], divergences[np.ix_(order, order)], tree


def pairs(names: Sequence[str], divergences: np.ndarray) -> list[Row]:
  """A row for every pair of data sets; arguments as `similarities` gives.

  That of a data set and itself has the divergence of its halves.
  """
  return [
    {'dataset': name, 'other': other, 'divergence': divergences[i, j]}
    for i, name in enumerate(names)
    for j, other in enumerate(names)
  ]


def shifts(
  routing: Routing,
  training: Sequence[str],
  held_out: Sequence[str],
  found_noise: Noise,
) -> list[Row]:
  """How differently held-out data sets are routed from training data sets.

  There is a row for every router, with three divergences in bits. `held_out` is
  the divergence of a held-out data set from the mean over training data sets,
  averaged over held-out data sets. `training` is what to expect of a data set
  that was trained on: the divergence of a training data set from the mean over
  the others, averaged over training data sets. It is NaN where there is only
  one. `noise` is that of two halves of a data set, averaged over data sets. It
  is NaN where it is unknown.
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
        'training': _mean_or_nan(among),
        'noise': _mean_or_nan([x[router] for x in found_noise.values()]),
      }
    )
  return rows


def divergence(p: np.ndarray, q: np.ndarray) -> float:
  """The Jensen-Shannon divergence of two distributions [E], in bits."""
  # Rounding may leave a tiny negative number, and its root is NaN.
  return float(np.nan_to_num(distance.jensenshannon(p, q, 2)) ** 2)


def _pairwise(means: np.ndarray) -> np.ndarray:
  return distance.pdist(means, divergence)


def _means(routing: Routing, router: str) -> np.ndarray:
  """The mean probabilities over each data set, [data sets, E]."""
  return np.stack([_mean(usages[router]) for usages in routing.values()])


def _mean(of: Usage) -> np.ndarray:
  p = np.asarray(of.probability, np.float64)
  return p / p.sum()


def _mean_or_nan(values: Sequence[float]) -> float:
  return float(np.mean(values)) if values else np.nan


def _entropy(p: np.ndarray) -> float:
  kept = p[p > 0]
  return float(-(kept * np.log(kept)).sum())
