"""Training data: a SeqIO task or mixture to batches on the mesh.

The stream is a function of the seed. Its position is saved with a checkpoint,
so that a resumed run sees exactly the batches that it would have seen.
"""

import dataclasses
import io
import itertools
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import seqio
import tensorflow as tf
from absl import logging
from jax.sharding import Mesh, NamedSharding

from moe_lite import partitioning
from moe_lite.errors import UserError, nearest

# T5X rounds the vocabulary of a network up to a multiple of this.
VOCABULARY_ROUNDING = 128

Batch = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Dataset:
  """What to train on.

  Attributes:
    mixture_or_task_name: registered with SeqIO by an imported module.
    task_feature_lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    batch_size: rows of a batch, over all processes. With packing, a row holds
      several examples.
    packing: fill rows with several examples, which do not see each other.
    split: of the mixture or task.
    use_cached: read what `seqio_cache_tasks` wrote.
    shuffle: False keeps the order of the source.
    save_position: save the pipeline's state, shuffle buffers included, with
      each checkpoint. False saves nothing and reads again on resuming, what
      happens anyhow where TensorFlow cannot save a pipeline.
  """

  mixture_or_task_name: str
  task_feature_lengths: Mapping[str, int]
  batch_size: int
  packing: bool = True
  split: str = 'train'
  use_cached: bool = False
  shuffle: bool = True
  save_position: bool = True


def check(dataset: Dataset, vocab_size: int) -> None:
  """Raises UserError unless the data exist and suit the network.

  Args:
    dataset: the data.
    vocab_size: rows of the network's embedding.
  """
  provider = find(dataset.mixture_or_task_name)
  check_split(provider, dataset.split, dataset.use_cached)
  check_vocabulary(provider, vocab_size)
  lengths = dataset.task_feature_lengths
  wanted = {'inputs', 'targets'}
  if set(lengths) != wanted or any(int(n) < 1 for n in lengths.values()):
    raise UserError(
      f'TASK_FEATURE_LENGTHS = {dict(lengths)} must give a positive length for '
      "'inputs' and for 'targets', and nothing else."
    )


def find(name: str) -> seqio.Task | seqio.Mixture:
  """The task or mixture of that name, or UserError with the nearest."""
  names = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
  if name not in names:
    raise UserError(
      f'MIXTURE_OR_TASK_NAME = {name!r} is not among the {len(names)} '
      f'registered tasks and mixtures.{nearest(name, names)} A gin/data file '
      'imports the module that registers it.'
    )
  return seqio.get_mixture_or_task(name)


def check_split(
  provider: seqio.Task | seqio.Mixture, split: str, use_cached: bool = False
) -> None:
  """Raises UserError unless some task has the split, and a cache if asked."""
  tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
  cacheable = [task for task in tasks if task.supports_caching]
  if not use_cached and any(task.requires_caching for task in cacheable):
    raise UserError(
      f'{provider.name!r} has tasks that can only be read from a cache: give '
      '--gin.USE_CACHED_TASKS=True and --seqio_additional_cache_dirs.'
    )
  if use_cached:
    uncached = [task.name for task in cacheable if task.cache_dir is None]
    if uncached:
      raise UserError(
        f'USE_CACHED_TASKS = True, but {len(uncached)} of {len(tasks)} tasks '
        f'of {provider.name!r} have no cache, such as {uncached[0]!r}. Name '
        'the folder with --seqio_additional_cache_dirs, or give '
        '--gin.USE_CACHED_TASKS=False.'
      )
  splits = sorted({split for task in tasks for split in task.splits})
  if split not in splits:
    raise UserError(
      f'{provider.name!r} has no split {split!r}.{nearest(split, splits)} Its '
      f'splits: {", ".join(splits) or "none"}.'
    )


def check_vocabulary(
  provider: seqio.Task | seqio.Mixture, vocab_size: int
) -> None:
  """Raises UserError unless the network's embedding suits the vocabulary."""
  for name, feature in provider.output_features.items():
    size = feature.vocabulary.vocab_size
    if not size <= vocab_size < size + VOCABULARY_ROUNDING:
      raise UserError(
        f"The network's vocabulary has {vocab_size} entries, but that of "
        f'{name!r} in {provider.name!r} has {size}: the network needs at least '
        f'{size} and fewer than {size + VOCABULARY_ROUNDING}. The models/ gin '
        'file and the data/ gin file do not belong together.'
      )


def read(
  task: seqio.Task,
  split: str,
  lengths: Mapping[str, int],
  use_cached: bool = False,
  most: int | None = None,
) -> list[dict[str, Any]]:
  """Examples of a task's split, tokenized and trimmed, in the source's order.

  Args:
    task: to read.
    split: of it.
    lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    use_cached: read what `seqio_cache_tasks` wrote, where the task allows it.
    most: how many to read; None for all.

  Raises:
    UserError: if the split has no rows, or its cache cannot be read.
  """
  try:
    dataset = task.get_dataset(
      dict(lengths),
      split=split,
      use_cached=use_cached and task.supports_caching,
      shuffle=False,
      try_in_mem_cache=False,
    )
    rows = list(dataset.take(-1 if most is None else most).as_numpy_iterator())
  except (KeyError, tf.errors.NotFoundError) as error:
    # SeqIO's reader answers a cached split without rows with a KeyError.
    raise UserError(
      f'Split {split!r} of task {task.name!r} cannot be read; its cache is '
      f'incomplete, or the split has no rows: {error}'
    ) from error
  if not rows:
    raise UserError(
      f'Split {split!r} of task {task.name!r} is empty: choose another split, '
      'or a mixture without this task.'
    )
  return rows


def load(
  dataset: Dataset, seed: int, shard: int = 0, num_shards: int = 1
) -> tf.data.Dataset:
  """The endless stream of one shard's batches.

  Args:
    dataset: what to read.
    seed: of every shuffle and of mixing.
    shard: which of `num_shards` equal parts of every batch.
    num_shards: into how many parts the examples are dealt.

  Returns:
    Dictionaries of int32 [batch_size / num_shards, length].
  """
  provider = find(dataset.mixture_or_task_name)
  examples = provider.get_dataset(
    dict(dataset.task_feature_lengths),
    split=dataset.split,
    use_cached=dataset.use_cached,
    shuffle=dataset.shuffle,
    seed=seed,
    shard_info=seqio.ShardInfo(shard, num_shards) if num_shards > 1 else None,
    num_epochs=None,
    # The cache would be saved with the position, whole.
    try_in_mem_cache=False,
  )
  converter = seqio.EncDecFeatureConverter(pack=dataset.packing)
  rows = converter(
    examples, task_feature_lengths=dict(dataset.task_feature_lengths)
  )
  options = tf.data.Options()
  options.deterministic = True
  batches = rows.batch(dataset.batch_size // num_shards, drop_remainder=True)
  return batches.prefetch(2).with_options(options)


def hide_accelerators() -> None:
  """TensorFlow would otherwise take the GPU's memory from JAX."""
  for kind in ('GPU', 'TPU'):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:  # Too late: its devices are initialised.
      pass


class Batches(Iterator[Mapping[str, jax.Array]]):
  """Batches as global arrays, split over the mesh's `data` axis."""

  def __init__(self, dataset: Dataset, mesh: Mesh, seed: int):
    hide_accelerators()
    self._dataset = dataset
    self._sharding = partitioning.batch_sharding(mesh)
    shard, num_shards = _shard_of_process(mesh)
    # A function: SeqIO's shuffles give another order when one data set is read
    # a second time.
    self._load = lambda: load(dataset, seed, shard, num_shards)
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
        logging.warning(
          'The data pipeline cannot be saved; a resumed run will read again '
          'what this one has read. %s',
          error.message.splitlines()[0],
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
          return True
        except (tf.errors.OpError, AssertionError) as error:
          logging.warning('The saved data position is of no use: %s', error)
          self._restart()
    for _ in itertools.islice(self._iterator, batches):
      pass
    return False

  def _restart(self) -> None:
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
  data = io.BytesIO()
  # Buffers are padded ids: even the fastest level shrinks them several times.
  with tarfile.open(fileobj=data, mode='w:gz', compresslevel=1) as archive:
    for name in sorted(os.listdir(folder)):
      archive.add(os.path.join(folder, name), arcname=name)
  return data.getvalue()


def _unpack(data: bytes, folder: str) -> None:
  with tarfile.open(fileobj=io.BytesIO(data), mode='r:gz') as archive:
    archive.extractall(folder, filter='data')
