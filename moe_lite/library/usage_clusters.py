"""Clusters data sets by how they use the experts of a routed run."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import sklearn.cluster

from moe_lite.checkpoints import fixed_routers
from moe_lite.core.errors import UserError
from moe_lite.routing.statistics import Routing


@dataclasses.dataclass(frozen=True)
class Clusters:
  """Data sets that share a static expert.

  Attributes:
    routing: how each data set uses the experts of the run.
    labels: [D], the number of each data set's cluster.
  """

  routing: Routing
  labels: np.ndarray

  @classmethod
  def of(cls, routing: Routing, num_experts: int, seed: int) -> 'Clusters':
    """Clusters data sets; see `cluster`."""
    used = vectors(routing, _routers(routing))
    return cls(routing, cluster(used, num_experts, seed))

  @property
  def members(self) -> dict[str, list[str]]:
    """Expert to its data sets."""
    found: dict[str, list[str]] = {}
    for name, k in zip(self.routing, self.labels, strict=True):
      found.setdefault(expert_name(k), []).append(name)
    return found

  @property
  def experts(self) -> dict[str, str]:
    """Data set to its expert."""
    return {x: name for name, sets in self.members.items() for x in sets}

  def weights(self, data_sets: Sequence[str]) -> dict[str, np.ndarray]:
    """Router to its mean weights [E] over the tokens of some data sets."""
    return fixed_routers.mean_weights({x: self.routing[x] for x in data_sets})

  def nearest(self, others: Routing) -> dict[str, str]:
    """Chooses an expert for other data sets, by their inputs alone.

    Only routers of the encoder count, because those of the decoder read the
    answers.

    Args:
      others: how each of these data sets uses the experts of the run.

    Returns:
      Data set to its expert.

    Raises:
      UserError: if no router stands in the encoder.
    """
    routers = [x for x in _routers(self.routing) if x.startswith('encoder/')]
    if not routers:
      raise UserError(
        f'{", ".join(others)} have no expert of their own, and none can be '
        'chosen by their inputs, because all routers stand in the decoder: '
        'give their data sets with --mixture, or leave them out of --evaluate.'
      )
    found = nearest(
      vectors(self.routing, routers),
      self.labels,
      vectors(others, routers),
    )
    return {x: expert_name(k) for x, k in zip(others, found, strict=True)}


def vectors(routing: Routing, routers: Sequence[str]) -> np.ndarray:
  """Lays the mean weights of all routers side by side.

  Args:
    routing: data set to router to how it was used.
    routers: the routers to take, in this order.

  Returns:
    [D, N], float64, a row for each data set in its order. N is the number of
    experts of all these routers together. A weight is a mean over tokens.
  """
  return np.array(
    [
      np.concatenate([of[x].weight / of[x].tokens for x in routers])
      for of in routing.values()
    ],
    np.float64,
  )


def cluster(used: np.ndarray, num_clusters: int, seed: int = 0) -> np.ndarray:
  """Groups data sets that use the experts alike, by k-means.

  Args:
    used: [D, N]; see `vectors`.
    num_clusters: the number of clusters, K.
    seed: seeds the beginnings of k-means, of which the best of ten is taken.

  Returns:
    [D], the number of each data set's cluster. Clusters are numbered in the
    order in which the data sets first name them.

  Raises:
    UserError: if there are not K data sets that differ.
  """
  different = len(np.unique(used, axis=0))
  if not 1 <= num_clusters <= different:
    raise UserError(
      f'--experts={num_clusters} of {len(used)} data sets, of which '
      f'{different} differ in how they use the experts: give a number from 1 '
      f'to {different}, or more data sets with --mixture.'
    )
  means = sklearn.cluster.KMeans(num_clusters, random_state=seed)
  means.set_params(n_init=10)
  order: dict[int, int] = {}
  labels = means.fit_predict(used)
  return np.array([order.setdefault(int(x), len(order)) for x in labels])


def nearest(
  used: np.ndarray, labels: np.ndarray, others: np.ndarray
) -> np.ndarray:
  """Finds the cluster that other data sets are nearest to.

  Args:
    used: [D, N], the data sets that were clustered.
    labels: [D], their clusters.
    others: [M, N], other data sets.

  Returns:
    [M], the cluster whose mean has the least Euclidean distance.
  """
  means = np.stack([used[labels == k].mean(0) for k in range(labels.max() + 1)])
  return ((others[:, None] - means) ** 2).sum(-1).argmin(1)


def expert_name(k: int) -> str:
  """The name of the expert of a cluster."""
  return f'static_{k}'


def _routers(routing: Routing) -> list[str]:
  return sorted(next(iter(routing.values())))
