"""The few shapes that batches of ragged ids are padded to."""

import dataclasses
from collections.abc import Sequence

import numpy as np

_SMALLEST_BUCKET = 8


@dataclasses.dataclass(frozen=True)
class Shapes:
  """The shapes that batches are padded to, so that few are compiled.

  Attributes:
    batch_size: examples a batch.
    input_length: the most input ids.
    target_length: the most target ids.
  """

  batch_size: int
  input_length: int
  target_length: int


def bucket(length: int, limit: int) -> int:
  """The power of two, at least 8, that a length is padded to, or `limit`."""
  size = _SMALLEST_BUCKET
  while size < length:
    size *= 2
  return min(size, limit)


def pad(
  arrays: Sequence[Sequence[int] | np.ndarray], batch_size: int, limit: int
) -> np.ndarray:
  """Stacks ids to [batch_size, L], padded with 0; L is a `bucket`."""
  length = bucket(max(len(a) for a in arrays), limit)
  padded = np.zeros((batch_size, length), np.int32)
  for row, array in zip(padded, arrays, strict=False):
    row[: len(array)] = array
  return padded


def pad_rows(arrays: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
  """Stacks vectors of one size to [batch_size, F], padded with rows of 0."""
  stacked = np.stack(arrays)
  return np.pad(stacked, ((0, batch_size - len(stacked)), (0, 0)))
