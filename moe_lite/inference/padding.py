"""Batches of ragged examples, padded to few shapes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  TASK_IDS,
  TASK_NUMBER,
)


@dataclasses.dataclass(frozen=True)
class Shapes:
  """The shapes that batches are padded to, so that few are compiled.

  Attributes:
    batch_size: the number of examples in a batch.
    input_length: the greatest number of input ids.
    target_length: the greatest number of target ids.
    parts: the number of equal parts that a mesh splits a batch into.
  """

  batch_size: int
  input_length: int
  target_length: int
  parts: int = 1

  def __post_init__(self) -> None:
    """Raises UserError unless both lengths are positive."""
    lengths = {'inputs': self.input_length, 'targets': self.target_length}
    for name, length in lengths.items():
      if length < 1:
        raise UserError(
          f'TASK_FEATURE_LENGTHS gives {name!r} {length} tokens, and must give '
          'at least 1.'
        )

  def for_examples(self, count: int) -> Self:
    """Returns shapes for so many examples in all.

    Where they fill less than half of a batch, batches are halved as often as
    the examples and the mesh allow. Many examples keep the size, although their
    last batch may be nearly empty: to compile another size takes longer.
    """
    size = self.batch_size
    while size % (2 * self.parts) == 0 and size // 2 >= count:
      size //= 2
    return dataclasses.replace(self, batch_size=size)


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
  """What the encoder and the routers read of one example.

  Attributes:
    ids: int [L].
    embedding: float [F], for the routers; None where the task brings no such
      vector.
    task: the number of its task, for the routers; None where they do not read
      it.
  """

  ids: Sequence[int] | np.ndarray
  embedding: np.ndarray | None = None
  task: int | None = None

  @classmethod
  def of(cls, row: Mapping[str, np.ndarray]) -> 'Input':
    """The input of a row of a task."""
    task = row.get(TASK_NUMBER)
    number = None if task is None else int(task)
    return cls(row['inputs'], row.get(INPUTS_EMBEDDING), number)


def bucket(length: int, limit: int, least: int = 8) -> int:
  """The length to pad to: `least` times a power of two, at most `limit`."""
  size = least
  while size < length:
    size *= 2
  return min(size, limit)


def pad(
  arrays: Sequence[Sequence[int] | np.ndarray],
  batch_size: int,
  limit: int,
  least: int = 8,
) -> np.ndarray:
  """Stacks ids to int32 [batch_size, L], padded with 0; L is a `bucket`."""
  length = bucket(max(len(a) for a in arrays), limit, least)
  padded = np.zeros((batch_size, length), np.int32)
  for row, array in zip(padded, arrays, strict=False):
    row[: len(array)] = array
  return padded


def pad_inputs(
  inputs: Sequence[Input], batch_size: int, limit: int
) -> dict[str, np.ndarray]:
  """Makes the encoder's part of a batch.

  Args:
    inputs: the inputs of at most `batch_size` examples.
    batch_size: the number of rows, of which the last may be empty.
    limit: the greatest length.

  Returns:
    The ids, as `pad` gives them. Where the inputs have them, also the vectors
    for routers, float [batch_size, F], and the number of each token's task.

  Raises:
    ValueError: if some inputs have a vector, and some do not.
  """
  ids = pad([x.ids for x in inputs], batch_size, limit)
  batch = {ENCODER_INPUTS: ids}
  if inputs and inputs[0].task is not None:
    tasks = np.zeros((batch_size, 1), np.int32)
    tasks[: len(inputs), 0] = [x.task or 0 for x in inputs]
    batch[TASK_IDS[0]] = np.where(ids == 0, 0, tasks)
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
  """Makes the decoder's part of a batch: its inputs and its targets.

  The targets are padded as `pad` does, which says what the arguments are.
  """
  ids = pad(targets, batch_size, limit)
  return {DECODER_INPUTS: shift_right(ids), DECODER_TARGETS: ids}


def shift_right(targets: np.ndarray) -> np.ndarray:
  """The decoder's inputs for targets [..., T]: 0, then all but the last id."""
  before = [(0, 0)] * (targets.ndim - 1)
  return np.pad(targets, (*before, (1, 0)))[..., :-1]
