"""Reads batches onto the mesh, and finds its place again after an interruption.

A batch consists of DATA_SHARDS equal parts. Each part comes from a stream of
its own, which is called a shard. The batches depend on the seed and on
DATA_SHARDS alone: they are the same on any mesh and with any number of
processes. A process reads the shards whose rows its devices hold.

A checkpoint holds the position in every shard. A run that is resumed sees
exactly the batches that it would have seen without the interruption.
"""

import contextlib
import dataclasses
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh, NamedSharding

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError, some
from moe_lite.core.features import ID_FEATURES
from moe_lite.core.progress import say
from moe_lite.data.dataset import Dataset
from moe_lite.data.faults import check_ids, reading, without_rows
from moe_lite.data.positions import pack, unpack
from moe_lite.process.quiet_tensorflow import hide_accelerators

# Maps the name of each feature to its rows, on the host.
Rows = Mapping[str, np.ndarray]


def with_shards(dataset: Dataset, recorded: int | None = None) -> Dataset:
  """Returns the data set with a number of shards.

  A number that the data set has already is kept.

  Args:
    dataset: the data set.
    recorded: the number of shards of the run that is resumed. None if the run
      is new; it then gets a shard for each process.

  Raises:
    UserError: if the number does not divide the batch size.
  """
  number, source = dataset.data_shards, ''
  if number is None and recorded is not None:
    number, source = recorded, ' (the number in the checkpoint)'
  elif number is None:
    number, source = jax.process_count(), ' (one for each process)'
  size = dataset.batch_size
  if not isinstance(number, int) or number < 1 or size % number:
    allowed = [n for n in range(1, size + 1) if size % n == 0]
    raise UserError(
      f'DATA_SHARDS = {number!r}{source} must divide BATCH_SIZE = {size}. Give '
      f'--gin.DATA_SHARDS with one of {", ".join(map(str, allowed))}.'
    )
  return dataclasses.replace(dataset, data_shards=number)


class Batches(Iterator[Mapping[str, jax.Array]]):
  """Yields batches as global arrays that are split over the `data` axis.

  A batch maps the name of each feature to an array [batch_size, length], or
  [batch_size, choices, length].

  Attributes:
    count: how many batches were read since the stream began.
  """

  def __init__(
    self,
    dataset: Dataset,
    mesh: Mesh,
    seed: int,
    vocab_size: int | None = None,
    opened: 'Mapping[int, Shard] | None' = None,
  ):
    """Opens the streams at their beginning.

    Args:
      dataset: what to read.
      mesh: the mesh to put batches on.
      seed: the seed of every shuffle and of mixing.
      vocab_size: how many rows the embedding has; None checks no ids.
      opened: what `open_first` returned.

    Raises:
      UserError: if the data cannot be read, or the number of shards does not
        divide the batch size.
    """
    hide_accelerators()
    dataset = with_shards(dataset)
    assert dataset.data_shards is not None
    self._dataset = dataset
    self._sharding = partitioning.batch_sharding(mesh)
    self._number = dataset.data_shards
    readers = _readers(self._sharding, dataset.batch_size, self._number)
    process = jax.process_index()
    self._shards = {
      shard: (opened or {}).get(shard)
      or Shard(dataset, seed, shard, vocab_size)
      for shard, processes in enumerate(readers)
      if process in processes
    }
    # Several processes may read a shard. The first of them saves its position.
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
    """Returns the names of the shards that this process reads."""
    return [self._name(shard) for shard in self._shards]

  def position(self) -> dict[str, bytes]:
    """Returns the position in each shard that this process saves.

    Returns:
      A dict that maps the name of a shard to its position. Shards whose
      position cannot be saved are left out.
    """
    found = {
      self._name(s): self._shards[s].position(self.count) for s in self._saved
    }
    return {name: position for name, position in found.items() if position}

  def restore(self, position: Mapping[str, bytes], batches: int) -> bool:
    """Goes to a place in the data where a checkpoint was saved.

    Args:
      position: the positions of all shards; see the method `position`.
      batches: how many batches lie between the beginning and that place.

    Returns:
      Whether all positions could be used. If one could not, its shard was read
      again from the beginning.
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
    """Makes a global array of a feature from its parts.

    Args:
      parts: maps the number of each shard that this process reads to its part,
        [batch_size / shards, ...].

    Returns:
      An array [batch_size, ...] on the mesh.
    """
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


class Shard(Iterator[Rows]):
  """One of the streams that batches consist of."""

  def __init__(
    self,
    dataset: Dataset,
    seed: int,
    shard: int,
    vocab_size: int | None = None,
  ):
    """Opens the stream at its beginning.

    Args:
      dataset: what to read. Its number of shards is set.
      seed: the seed of every shuffle and of mixing.
      shard: the number of the shard, from 0.
      vocab_size: how many rows the embedding has; None checks no ids.
    """
    assert dataset.data_shards is not None
    self._dataset = dataset
    self._vocab_size = vocab_size
    self._ahead: Rows | None = None
    number = dataset.data_shards
    # The data set is loaded anew for each reading, because SeqIO's shuffles
    # would give another order if it were read a second time.
    self._load = lambda: dataset.load(seed, shard, number)
    self._can_save = dataset.save_position
    self._stream = {'seed': seed, 'shard': shard}
    self._restart()

  def peek(self) -> Rows:
    """Returns what `__next__` will return, which stays in the stream."""
    if self._ahead is None:
      self._ahead = next(self)
    return self._ahead

  def __next__(self) -> Rows:
    if self._ahead is not None:
      rows, self._ahead = self._ahead, None
      return rows
    dataset = self._dataset
    try:
      with self._reading():
        batch = next(self._iterator)
    except StopIteration:
      number = dataset.data_shards
      parts = f' / DATA_SHARDS = {number}' if number != 1 else ''
      raise UserError(
        f'Split {dataset.split!r} of {dataset.mixture_or_task_name!r} is '
        f'empty, or has fewer rows than BATCH_SIZE = {dataset.batch_size}'
        f'{parts}.{self._say_empty()}'
      ) from None
    rows = {name: x.numpy() for name, x in batch.items()}
    if self._vocab_size is not None:
      name = dataset.mixture_or_task_name
      ids = {name: x for name, x in rows.items() if name in ID_FEATURES}
      check_ids(ids, self._vocab_size, f'A batch of {name!r}')
    return rows

  def position(self, batches: int) -> bytes:
    """Returns the position in the stream; empty if it cannot be saved.

    Args:
      batches: how many batches were read. The position is of use only to a
        stream of the same data that comes to the same place.
    """
    if not self._can_save:
      return b''
    with tempfile.TemporaryDirectory() as folder:
      try:
        self._checkpoint.write(os.path.join(folder, 'position'))
      except tf.errors.OpError as error:
        say(
          'The data pipeline cannot be saved. A resumed run will read again '
          f'what this one has read. {error.message.splitlines()[0]}'
        )
        self._can_save = False
        return b''
      return pack(folder, self._place(batches))

  def restore(self, position: bytes | None, batches: int) -> bool:
    """See `Batches.restore`."""
    if self._ahead is not None:
      self._restart()
    if position:
      with tempfile.TemporaryDirectory() as folder:
        try:
          unpack(position, folder, self._place(batches))
          read = self._checkpoint.read(os.path.join(folder, 'position'))
          read.assert_consumed()
          return True
        except (tf.errors.OpError, AssertionError, ValueError) as error:
          say(f'The saved position in the data cannot be used: {error}')
          self._restart()
    with self._reading():
      for _ in itertools.islice(self._iterator, batches):
        pass
    return False

  def _say_empty(self) -> str:
    """' These tasks have no rows in it: ...' where there are some."""
    dataset = self._dataset
    empty = without_rows(
      dataset.mixture_or_task_name, dataset.split, dataset.use_cached
    )
    return f' These tasks have no rows: {some(empty)}.' if empty else ''

  def _place(self, batches: int) -> str:
    """Says which place of which stream a position belongs to."""
    facts = dataclasses.asdict(self._dataset)
    lengths = dict(sorted(self._dataset.task_feature_lengths.items()))
    return repr({**facts, 'task_feature_lengths': lengths} | self._stream) + (
      f' after {batches} batches'
    )

  def _reading(self) -> contextlib.AbstractContextManager[None]:
    dataset = self._dataset
    return reading(
      dataset.mixture_or_task_name, dataset.split, dataset.use_cached
    )

  def _restart(self) -> None:
    self._ahead = None
    self._iterator = iter(self._load())
    self._checkpoint = tf.train.Checkpoint(iterator=self._iterator)


def open_first(
  dataset: Dataset, seed: int, vocab_size: int
) -> dict[int, Shard]:
  """Reads a first batch before anything is compiled, so that mistakes show.

  Args:
    dataset: what to read. Its number of shards is set.
    seed: the seed of every shuffle and of mixing.
    vocab_size: how many rows the embedding has.

  Returns:
    The shard that this process most likely reads, for `Batches`.

  Raises:
    UserError: if the data cannot be read, or hold ids beyond the embedding.
  """
  hide_accelerators()
  assert dataset.data_shards is not None
  number = jax.process_index() * dataset.data_shards // jax.process_count()
  shard = Shard(dataset, seed, number, vocab_size)
  shard.peek()
  return {number: shard}


def _readers(sharding: NamedSharding, rows: int, shards: int) -> list[set[int]]:
  """Returns which processes read each shard.

  A process reads a shard if its devices hold some of the shard's rows.

  Args:
    sharding: the sharding of a batch.
    rows: how many rows a batch has.
    shards: how many shards there are.

  Returns:
    A set of process numbers for each shard.
  """
  width = rows // shards
  readers: list[set[int]] = [set() for _ in range(shards)]
  for device, index in sharding.devices_indices_map((rows,)).items():
    first, last, _ = index[0].indices(rows)
    for shard in range(first // width, -(-last // width)):
      readers[shard].add(device.process_index)
  return readers
