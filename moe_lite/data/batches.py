"""A stream of batches on the mesh, and finding one's place in it again.

A batch is the concatenation of DATA_SHARDS equal parts, each of an independent
stream. So the batches are a function of the seed and of DATA_SHARDS alone,
whatever mesh and however many processes read them: a process opens the shards
whose rows its devices hold. Positions are saved with a checkpoint, by shard, so
that a resumed run sees exactly the batches that it would have seen.
"""

import contextlib
import dataclasses
import io
import itertools
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh, NamedSharding

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data.dataset import Dataset, load, reading
from moe_lite.process.quiet_tensorflow import hide_accelerators

Rows = Mapping[str, np.ndarray]


def with_shards(dataset: Dataset, recorded: int | None = None) -> Dataset:
  """Decides on a number of data shards, where the data set leaves it open.

  Args:
    dataset: the data set.
    recorded: the number of the run that is resumed.

  Raises:
    UserError: if it does not divide the batch size.
  """
  number, source = dataset.data_shards, ''
  if number is None and recorded is not None:
    number, source = recorded, ' (as the checkpoint has it)'
  elif number is None:
    number, source = jax.process_count(), ' (None is one a process)'
  size = dataset.batch_size
  if not isinstance(number, int) or number < 1 or size % number:
    allowed = [n for n in range(1, size + 1) if size % n == 0]
    raise UserError(
      f'DATA_SHARDS = {number!r}{source} must divide BATCH_SIZE = {size}. Give '
      f'--gin.DATA_SHARDS with one of {", ".join(map(str, allowed))}.'
    )
  return dataclasses.replace(dataset, data_shards=number)


class Batches(Iterator[Mapping[str, jax.Array]]):
  """Batches as global arrays, split over the mesh's `data` axis.

  Attributes:
    count: how many were read since the stream began.
  """

  def __init__(self, dataset: Dataset, mesh: Mesh, seed: int):
    hide_accelerators()
    dataset = with_shards(dataset)
    assert dataset.data_shards is not None
    self._dataset = dataset
    self._sharding = partitioning.batch_sharding(mesh)
    self._number = dataset.data_shards
    readers = _readers(self._sharding, dataset.batch_size, self._number)
    process = jax.process_index()
    self._shards = {
      shard: _Shard(dataset, seed, shard)
      for shard, processes in enumerate(readers)
      if process in processes
    }
    # Those whose position this process saves.
    self._saved = [s for s in self._shards if process == min(readers[s])]
    self.count = 0

  def __next__(self) -> Mapping[str, jax.Array]:
    parts = {shard: next(stream) for shard, stream in self._shards.items()}
    self.count += 1
    names = next(iter(parts.values()))
    return {
      name: self._to_mesh({s: part[name] for s, part in parts.items()})
      for name in names
    }

  def shard_names(self) -> list[str]:
    """Of the shards that this process reads, as their positions are named."""
    return [self._name(shard) for shard in self._shards]

  def position(self) -> dict[str, bytes]:
    """Where the stream stands, by shard, of those that this process saves.

    A shard is left out where its position cannot be saved.
    """
    found = {self._name(s): self._shards[s].position() for s in self._saved}
    return {name: position for name, position in found.items() if position}

  def restore(self, position: Mapping[str, bytes], batches: int) -> bool:
    """Goes to where `position` was taken, `batches` batches from the start.

    Returns:
      False where the pipeline did not accept it, and everything up to there
      had to be read again.
    """
    self.count = batches
    accepted = [
      stream.restore(position.get(self._name(shard)), batches)
      for shard, stream in self._shards.items()
    ]
    return all(accepted)

  def _name(self, shard: int) -> str:
    return f'shard_{shard}_of_{self._number}'

  def _to_mesh(self, parts: Mapping[int, np.ndarray]) -> jax.Array:
    """A global [batch_size, L], from the shards' [batch_size / shards, L]."""
    size = self._dataset.batch_size
    width = size // self._number

    def rows(index: Any) -> np.ndarray:
      first, last, _ = index[0].indices(size)
      pieces = []
      for shard in range(first // width, -(-last // width)):
        begin = shard * width
        piece = parts[shard]
        pieces.append(piece[max(first - begin, 0) : last - begin])
      return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    shape = (size, *next(iter(parts.values())).shape[1:])
    return jax.make_array_from_callback(shape, self._sharding, rows)


class _Shard(Iterator[Rows]):
  """One of the streams that batches are made of."""

  def __init__(self, dataset: Dataset, seed: int, shard: int):
    assert dataset.data_shards is not None
    self._dataset = dataset
    number = dataset.data_shards
    # A function: SeqIO's shuffles give another order when one data set is read
    # a second time.
    self._load = lambda: load(dataset, seed, shard, number)
    self._can_save = dataset.save_position
    self._restart()

  def __next__(self) -> Rows:
    try:
      with self._reading():
        batch = next(self._iterator)
    except StopIteration:
      dataset = self._dataset
      number = dataset.data_shards
      parts = f' / DATA_SHARDS = {number}' if number != 1 else ''
      raise UserError(
        f'Split {dataset.split!r} of {dataset.mixture_or_task_name!r} is '
        f'empty, or has fewer rows than BATCH_SIZE = {dataset.batch_size}'
        f'{parts}.'
      ) from None
    return {name: x.numpy() for name, x in batch.items()}

  def position(self) -> bytes:
    """Where it stands; empty where that cannot be saved."""
    if not self._can_save:
      return b''
    with tempfile.TemporaryDirectory() as folder:
      try:
        self._checkpoint.write(os.path.join(folder, 'position'))
      except tf.errors.OpError as error:
        say(
          'The data pipeline cannot be saved; a resumed run will read again '
          f'what this one has read. {error.message.splitlines()[0]}'
        )
        self._can_save = False
        return b''
      return _pack(folder)

  def restore(self, position: bytes | None, batches: int) -> bool:
    """See `Batches.restore`."""
    if position:
      with tempfile.TemporaryDirectory() as folder:
        try:
          _unpack(position, folder)
          read = self._checkpoint.read(os.path.join(folder, 'position'))
          read.assert_consumed()
          return True
        except (
          tf.errors.OpError,
          AssertionError,
          zipfile.BadZipFile,
        ) as error:
          say(f'The saved data position is of no use: {error}')
          self._restart()
    with self._reading():
      for _ in itertools.islice(self._iterator, batches):
        pass
    return False

  def _reading(self) -> contextlib.AbstractContextManager[None]:
    dataset = self._dataset
    return reading(
      dataset.mixture_or_task_name, dataset.split, dataset.use_cached
    )

  def _restart(self) -> None:
    self._iterator = iter(self._load())
    self._checkpoint = tf.train.Checkpoint(iterator=self._iterator)


def _readers(sharding: NamedSharding, rows: int, shards: int) -> list[set[int]]:
  """Of every shard, the processes whose devices hold some of its rows."""
  width = rows // shards
  readers: list[set[int]] = [set() for _ in range(shards)]
  for device, index in sharding.devices_indices_map((rows,)).items():
    first, last, _ = index[0].indices(rows)
    for shard in range(first // width, -(-last // width)):
      readers[shard].add(device.process_index)
  return readers


def _pack(folder: str) -> bytes:
  packed = io.BytesIO()
  # Buffers are padded ids: even the fastest level shrinks them several times.
  with zipfile.ZipFile(
    packed, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
  ) as archive:
    for name in sorted(os.listdir(folder)):
      archive.write(os.path.join(folder, name), name)
  return packed.getvalue()


def _unpack(packed: bytes, folder: str) -> None:
  with zipfile.ZipFile(io.BytesIO(packed)) as archive:
    archive.extractall(folder)
