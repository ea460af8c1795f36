"""A stream of batches on the mesh, and finding one's place in it again.

The stream is a function of the seed. Its position is saved with a checkpoint,
so that a resumed run sees exactly the batches that it would have seen.
"""

import io
import itertools
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import tensorflow as tf
from jax.sharding import Mesh, NamedSharding

from moe_lite import data, partitioning
from moe_lite.errors import UserError
from moe_lite.progress import say


class Batches(Iterator[Mapping[str, jax.Array]]):
  """Batches as global arrays, split over the mesh's `data` axis.

  Attributes:
    count: how many were read since the stream began.
  """

  def __init__(self, dataset: data.Dataset, mesh: Mesh, seed: int):
    data.hide_accelerators()
    self._dataset = dataset
    self._sharding = partitioning.batch_sharding(mesh)
    shard, num_shards = _shard_of_process(mesh)
    # A function: SeqIO's shuffles give another order when one data set is read
    # a second time.
    self._load = lambda: data.load(dataset, seed, shard, num_shards)
    self._can_save = dataset.save_position
    self._restart()

  def __next__(self) -> Mapping[str, jax.Array]:
    try:
      batch = next(self._iterator)
    except StopIteration:
      raise UserError(
        f'Split {self._dataset.split!r} of '
        f'{self._dataset.mixture_or_task_name!r} is empty, or has fewer rows '
        f'than BATCH_SIZE = {self._dataset.batch_size}.'
      ) from None
    self.count += 1
    return {
      name: _to_mesh(x.numpy(), self._sharding) for name, x in batch.items()
    }

  def position(self) -> bytes:
    """Where the stream stands; empty where that cannot be saved."""
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
    """Goes to where `position` was taken, `batches` batches from the start.

    Returns:
      False where the pipeline did not accept it, and everything up to there
      had to be read again.
    """
    if position:
      with tempfile.TemporaryDirectory() as folder:
        _unpack(position, folder)
        try:
          read = self._checkpoint.read(os.path.join(folder, 'position'))
          read.assert_consumed()
          self.count = batches
          return True
        except (tf.errors.OpError, AssertionError) as error:
          say(f'The saved data position is of no use: {error}')
          self._restart()
    for _ in itertools.islice(self._iterator, batches):
      pass
    self.count = batches
    return False

  def _restart(self) -> None:
    self.count = 0
    self._iterator = iter(self._load())
    self._checkpoint = tf.train.Checkpoint(iterator=self._iterator)


def _shard_of_process(mesh: Mesh) -> tuple[int, int]:
  """Which part of each batch this process feeds, and into how many it is cut.

  Processes that hold the same rows of the mesh (a model spread over hosts)
  read the same part.
  """
  rows: dict[int, list[int]] = {}
  for (row, _), device in np.ndenumerate(mesh.devices):
    rows.setdefault(device.process_index, []).append(row)
  parts = sorted({tuple(sorted(set(r))) for r in rows.values()})
  own = tuple(sorted(set(rows[jax.process_index()])))
  return parts.index(own), len(parts)


def _to_mesh(local: np.ndarray, sharding: NamedSharding) -> jax.Array:
  return jax.make_array_from_process_local_data(sharding, local)


def _pack(folder: str) -> bytes:
  packed = io.BytesIO()
  # Buffers are padded ids: even the fastest level shrinks them several times.
  with tarfile.open(fileobj=packed, mode='w:gz', compresslevel=1) as archive:
    for name in sorted(os.listdir(folder)):
      archive.add(os.path.join(folder, name), arcname=name)
  return packed.getvalue()


def _unpack(packed: bytes, folder: str) -> None:
  with tarfile.open(fileobj=io.BytesIO(packed), mode='r:gz') as archive:
    archive.extractall(folder, filter='data')
