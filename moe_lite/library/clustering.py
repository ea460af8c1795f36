"""Clusters experts by their weights: model-based clustering, MBC.

One expert for each cluster is then trained on the data of all its members.

Source: Ostapenko et al., arXiv 2405.11157, section 3. The steps and numbers are
those of `MBCWithCosSimTransform` in mttl, which the tests compare.
"""

from collections.abc import Mapping

import numpy as np
import sklearn.cluster

from moe_lite.core.errors import UserError

# Columns that are multiplied in float64 at once.
_COLUMNS = 2**18


def flatten(leaves: Mapping[str, np.ndarray]) -> np.ndarray:
  """Lays all leaves of each expert side by side.

  Args:
    leaves: path to leaf [E, ...]. Give the vectors of (IA)³ as differences from
      one, because most of their numbers are near one and say nothing.

  Returns:
    [E, N], float32. The leaves are in the order of their paths.
  """
  return np.concatenate(
    [
      np.asarray(leaf, np.float32).reshape(len(leaf), -1)
      for _, leaf in sorted(leaves.items())
    ],
    axis=1,
  )


def sparsify(vectors: np.ndarray, kept: float = 0.2) -> np.ndarray:
  """Sets all but the largest numbers of each expert to zero.

  Args:
    vectors: [E, N].
    kept: the share of numbers that is kept, in (0, 1].

  Returns:
    [E, N], a copy.
  """
  sparse = np.array(vectors)
  if kept < 1:
    for row in sparse:  # One by one, because N can be millions.
      sizes = np.abs(row)
      row[sizes <= np.quantile(sizes, 1 - kept)] = 0
  return sparse


def embed(
  vectors: np.ndarray, dimensions: int = 64, kept: float = 0.2
) -> np.ndarray:
  """Returns a short vector of length 1 for each expert.

  It is what a singular value decomposition keeps of the sparse weights. The
  decomposition is computed from the inner products of the experts, and is exact
  where that of mttl is randomized.

  Args:
    vectors: [E, N]; see `flatten`.
    dimensions: how many dimensions are kept at most.
    kept: see `sparsify`.

  Returns:
    [E, min(dimensions, E)], float64. The signs of its columns mean nothing.

  Raises:
    UserError: if an argument is out of range or an expert has only zeros.
  """
  if not 0 < kept <= 1:
    raise UserError(
      f'kept = {kept}: it must be above 0 and at most 1, the share of numbers '
      'that each expert keeps.'
    )
  if dimensions < 1:
    raise UserError(f'dimensions = {dimensions}: it must be at least 1.')
  sparse = sparsify(vectors, kept)
  products = np.zeros((len(sparse), len(sparse)))
  for start in range(0, sparse.shape[1], _COLUMNS):
    part = sparse[:, start : start + _COLUMNS].astype(np.float64)
    products += part @ part.T
  empty = np.flatnonzero(~products.any(1))
  if len(empty):
    raise UserError(
      f'The experts {empty.tolist()} have only zeros, which are like no other '
      'expert: leave out what has not been trained.'
    )
  values, columns = np.linalg.eigh(products)
  first = slice(None, -dimensions - 1, -1)  # The largest come last.
  embedded = columns[:, first] * np.sqrt(np.maximum(values[first], 0))
  return embedded / np.linalg.norm(embedded, axis=1, keepdims=True)


def cluster(
  vectors: np.ndarray,
  num_clusters: int,
  dimensions: int = 64,
  kept: float = 0.2,
  seed: int = 42,
) -> np.ndarray:
  """Groups experts whose weights point the same way.

  What k-means groups are the rows of the matrix of cosines, as in mttl. Experts
  are then alike if they are alike to the same experts.

  Args:
    vectors: [E, N]; see `flatten`. About twice its size is needed in memory.
    num_clusters: the number of clusters, K, at most E.
    dimensions: see `embed`.
    kept: see `sparsify`.
    seed: seeds the beginnings of k-means, of which the best of ten is taken.

  Returns:
    [E], the number of each expert's cluster. Clusters are numbered in the order
    in which the experts first name them, so that expert 0 is in cluster 0.

  Raises:
    UserError: see `embed`; or if there are not as many experts as clusters.
  """
  if not 1 <= num_clusters <= len(vectors):
    raise UserError(
      f'num_clusters = {num_clusters} for {len(vectors)} experts: it must be '
      f'between 1 and {len(vectors)}.'
    )
  embedded = embed(vectors, dimensions, kept)
  means = sklearn.cluster.KMeans(num_clusters, random_state=seed)
  means.set_params(n_init=10)
  labels = means.fit_predict(embedded @ embedded.T)
  order: dict[int, int] = {}
  return np.array([order.setdefault(int(x), len(order)) for x in labels])
