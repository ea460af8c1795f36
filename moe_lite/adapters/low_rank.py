"""Splits a matrix into the pair of a low rank that is nearest to it.

Source: the theorem of Eckart and Young (1936), which says that the truncated
singular value decomposition is nearest. Both factors get the square roots of
the singular values, so that they are of equal size if training goes on.
"""

import numpy as np
import scipy.linalg


def split(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns two factors whose product is nearest to a matrix.

  Args:
    matrix: [in, out].
    rank: the columns of the first factor. Those beyond the smaller dimension of
      the matrix are zero.

  Returns:
    U sqrt(S), [in, rank], and sqrt(S) V^T, [rank, out], in float64, for the
    truncated singular value decomposition U S V^T.
  """
  matrix = matrix.astype(np.float64)
  if matrix.shape[0] > matrix.shape[1]:
    right, left = split(matrix.T, rank)
    return left.T, right.T
  # The first singular vectors are eigenvectors of the smaller Gram matrix. A
  # few of these take a tenth of the time of a whole decomposition.
  size = len(matrix)
  _, basis = scipy.linalg.eigh(
    matrix @ matrix.T, subset_by_index=(size - min(rank, size), size - 1)
  )
  return _factors(basis, basis.T @ matrix, rank)


def split_product(
  wide: np.ndarray, tall: np.ndarray, rank: int
) -> tuple[np.ndarray, np.ndarray]:
  """`split` of a product [in, K] [K, out], which is not built."""
  left, inner_left = np.linalg.qr(wide.astype(np.float64))
  right, inner_right = np.linalg.qr(tall.T.astype(np.float64))
  a, b = _factors(left, inner_left @ inner_right.T, rank)
  return a, b @ right.T


def _factors(
  basis: np.ndarray, rest: np.ndarray, rank: int
) -> tuple[np.ndarray, np.ndarray]:
  """`split` of `basis rest`, if the columns of the basis are orthonormal."""
  u, s, vt = np.linalg.svd(rest, full_matrices=False)
  kept = min(rank, len(s))
  root = np.sqrt(s[:kept])
  a, b = basis @ (u[:, :kept] * root), root[:, None] * vt[:kept]
  zeros = rank - kept
  return np.pad(a, ((0, 0), (0, zeros))), np.pad(b, ((0, zeros), (0, 0)))
