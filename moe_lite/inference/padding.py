"""Batches of ragged examples, padded to few shapes."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from moe_lite.core.features import INPUTS_EMBEDDING

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


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
  """What an encoder, and routers, read of one example.

  Attributes:
    ids: int [L].
    embedding: [F] for routers, where the task has one.
  """

  ids: Sequence[int] | np.ndarray
  embedding: np.ndarray | None = None

  @classmethod
  def of(cls, row: Mapping[str, np.ndarray]) -> 'Input':
    """That of a row of a task."""
    return cls(row['inputs'], row.get(INPUTS_EMBEDDING))


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


def pad_inputs(
  inputs: Sequence[Input], batch_size: int, limit: int
) -> dict[str, np.ndarray]:
  """The encoder's part of a batch: ids as of `pad`, [batch_size, F] vectors.

  Raises:
    ValueError: if some have a vector and some do not.
  """
  ids = pad([x.ids for x in inputs], batch_size, limit)
  batch = {'encoder_input_tokens': ids}
  vectors = [x.embedding for x in inputs if x.embedding is not None]
  if not vectors:
    return batch
  if len(vectors) < len(inputs):
    raise ValueError(
      f'{len(vectors)} of {len(inputs)} have {INPUTS_EMBEDDING!r}.'
    )
  rest = batch_size - len(vectors)
  return {
    **batch,
    INPUTS_EMBEDDING: np.pad(np.stack(vectors), ((0, rest), (0, 0))),
  }


def pad_targets(
  targets: Sequence[Sequence[int] | np.ndarray], batch_size: int, limit: int
) -> dict[str, np.ndarray]:
  """The decoder's part of a batch: targets as of `pad`, and what it reads."""
  ids = pad(targets, batch_size, limit)
  return {
    'decoder_input_tokens': shift_right(ids),
    'decoder_target_tokens': ids,
  }


def shift_right(targets: np.ndarray) -> np.ndarray:
  """Decoder inputs of [..., T]: a 0 before, the last id dropped."""
  before = [(0, 0)] * (targets.ndim - 1)
  return np.pad(targets, (*before, (1, 0)))[..., :-1]
