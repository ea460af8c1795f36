"""Reads SeqIO's tasks and mixtures, and checks them before anything runs."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from absl import logging
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.features import INPUTS_EMBEDDING
from moe_lite.core.progress import say

# T5X rounds the vocabulary of a network up to a multiple of this.
VOCABULARY_ROUNDING = 128


@dataclasses.dataclass(frozen=True)
class Dataset:
  """What to train on.

  Attributes:
    mixture_or_task_name: the name of a mixture or task. A module that a gin
      file imports registers it with SeqIO.
    task_feature_lengths: how many tokens a row has, {'inputs': S,
      'targets': T}. Longer examples are trimmed. With 'inputs_embedding' rows
      have a vector of that size, too.
    batch_size: how many rows a batch has, over all processes. With packing, a
      row holds several examples.
    packing: whether to fill rows with several examples, which do not see each
      other.
    split: the split to read.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    shuffle: whether to shuffle. If not, the order of the source is kept.
    save_position: whether each checkpoint holds the state of the data pipeline,
      shuffle buffers included. If not, or if TensorFlow cannot save the
      pipeline, a resumed run reads the data again up to its place.
    data_shards: how many equal parts a batch consists of. Each part is an
      independent stream. The batches depend on this number and on the seed
      alone. None means as many as there are processes when the run begins. A
      resumed run keeps its number.
  """

  mixture_or_task_name: str
  task_feature_lengths: Mapping[str, int]
  batch_size: int
  packing: bool = True
  split: str = 'train'
  use_cached: bool = False
  shuffle: bool = True
  save_position: bool = True
  data_shards: int | None = None


def check(dataset: Dataset, vocab_size: int) -> None:
  """Raises UserError unless the data exist and suit the network.

  Args:
    dataset: the data.
    vocab_size: how many rows the network's embedding has.
  """
  provider = find(dataset.mixture_or_task_name)
  check_split(provider, dataset.split, dataset.use_cached)
  check_vocabulary(provider, vocab_size)
  lengths = dataset.task_feature_lengths
  wanted = {'inputs', 'targets'}
  if set(lengths) - {INPUTS_EMBEDDING} != wanted or any(
    int(n) < 1 for n in lengths.values()
  ):
    raise UserError(
      f'TASK_FEATURE_LENGTHS = {dict(lengths)} must give a positive length for '
      f"'inputs' and for 'targets', for {INPUTS_EMBEDDING!r} where routers "
      'read that feature, and for nothing else.'
    )
  if INPUTS_EMBEDDING not in lengths:
    return
  if INPUTS_EMBEDDING not in provider.output_features:
    raise UserError(
      f'TASK_FEATURE_LENGTHS names {INPUTS_EMBEDDING!r}, which is not an '
      f'output feature of {provider.name}: it has '
      f'{", ".join(provider.output_features)}.'
    )
  if dataset.packing:
    raise UserError(
      f'PACKING = True fills a row with several examples, but '
      f'{INPUTS_EMBEDDING!r} belongs to one. Give --gin.PACKING=False.'
    )
  # Only the data say how large a vector is. One example is enough to see it.
  read(_tasks(provider)[0], dataset.split, lengths, dataset.use_cached, 1)


def find(name: str) -> seqio.Task | seqio.Mixture:
  """Returns the task or mixture of a name.

  Raises:
    UserError: if there is none. The message names the nearest ones.
  """
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
  """Raises UserError unless the data of a split are there.

  At least one task must have the split. Every task that has it must have its
  files. With `use_cached`, every task that can be cached must have a cache
  instead.

  Args:
    provider: the task or mixture.
    split: the name of the split.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
  """
  tasks = _tasks(provider)
  cacheable = [task for task in tasks if task.supports_caching]
  if not use_cached and any(task.requires_caching for task in cacheable):
    raise UserError(
      f'{provider.name!r} has tasks that can only be read from a cache. Give '
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
  splits = sorted({split for task in tasks for split in splits_of(task)})
  if split not in splits:
    raise UserError(
      f'{provider.name!r} has no split {split!r}.{nearest(split, splits)} Its '
      f'splits: {", ".join(splits) or "none"}.'
    )
  if not use_cached:
    for task in tasks:
      if split in splits_of(task):
        # A source that misses a file raises an error now, and not hours later.
        task.source.list_shards(split)


def splits_of(task: seqio.Task) -> Sequence[str]:
  """Returns the names of a task's splits; none if SeqIO knows of none."""
  try:
    return task.splits
  except ValueError:
    return ()


def check_vocabulary(
  provider: seqio.Task | seqio.Mixture, vocab_size: int
) -> None:
  """Raises UserError unless the network's embedding suits the vocabulary."""
  for name, feature in provider.output_features.items():
    if name == INPUTS_EMBEDDING:
      continue
    size = feature.vocabulary.vocab_size
    if not size <= vocab_size < size + VOCABULARY_ROUNDING:
      raise UserError(
        f"The network's vocabulary has {vocab_size} entries, but that of "
        f'{name!r} in {provider.name!r} has {size}. The network needs at least '
        f'{size} and fewer than {size + VOCABULARY_ROUNDING} entries. The '
        'models/ gin file and the data/ gin file do not belong together.'
      )


def read(
  task: seqio.Task,
  split: str,
  lengths: Mapping[str, int],
  use_cached: bool = False,
  most: int | None = None,
) -> list[dict[str, Any]]:
  """Reads the examples of a split, tokenized, in the order of their source.

  Args:
    task: the task to read.
    split: the name of the split.
    lengths: how many tokens an example has at most, {'inputs': S,
      'targets': T}. Longer ones are trimmed. With 'inputs_embedding', examples
      have a vector of that size, too.
    use_cached: whether to read what `seqio_cache_tasks` wrote, if the task can
      be cached.
    most: how many examples to read. None reads all.

  Returns:
    A dict of NumPy arrays for each example.

  Raises:
    UserError: if the split has no rows, if it cannot be read, or if a vector is
      missing or has another size.
  """
  with reading(task.name, split, use_cached):
    dataset = task.get_dataset(
      _trimmed(lengths),
      split=split,
      use_cached=use_cached and task.supports_caching,
      shuffle=False,
      try_in_mem_cache=False,
    )
    rows = list(dataset.take(-1 if most is None else most).as_numpy_iterator())
  if not rows:
    raise UserError(
      f'Split {split!r} of task {task.name!r} is empty. Choose another split, '
      'or a mixture without this task.'
    )
  size = lengths.get(INPUTS_EMBEDDING)
  for row in rows if size is not None else ():
    shape = np.shape(row.get(INPUTS_EMBEDDING))
    if shape != (size,):
      raise UserError(
        f'TASK_FEATURE_LENGTHS gives {INPUTS_EMBEDDING!r} {size} numbers, but '
        f'an example of {task.name!r} has '
        + (f'the shape {list(shape)}.' if INPUTS_EMBEDDING in row else 'none.')
      )
  return rows


@contextlib.contextmanager
def reading(name: str, split: str, use_cached: bool = False) -> Iterator[None]:
  """Turns errors of missing or damaged data within the block into UserErrors.

  Args:
    name: the name of the task or mixture that is read.
    split: the name of the split.
    use_cached: whether its cache is read.
  """
  try:
    yield
  except (KeyError, tf.errors.NotFoundError) as error:
    # SeqIO raises a KeyError for a cached split that has no rows.
    raise UserError(
      f'Split {split!r} of {name!r} cannot be read ({error}). Its cache is '
      'incomplete, or the split has no rows.'
    ) from error
  except tf.errors.DataLossError as error:
    # TensorFlow does not say which file is damaged. There may be hundreds.
    say(f'A file of {name!r} is damaged ({error.message}). Looking for it.')
    task, file = _damaged(find(name), split, use_cached)
    raise UserError(
      f'Task {task!r}: {file} is damaged or cut short ({error.message}). '
      'Delete the folder of the task, and fetch or make it again. Nothing that '
      'was saved is lost: run the same command again to go on.'
    ) from error


def load(
  dataset: Dataset, seed: int, shard: int = 0, num_shards: int = 1
) -> tf.data.Dataset:
  """Loads the endless stream of one part of every batch.

  Args:
    dataset: what to read.
    seed: the seed of every shuffle and of mixing.
    shard: the number of the part, from 0.
    num_shards: how many equal parts a batch consists of.

  Returns:
    A stream of dicts of arrays [batch_size / num_shards, length]. They are
    int32, but 'inputs_embedding' is float32.

  Raises:
    UserError: if the data are missing.
  """
  provider = find(dataset.mixture_or_task_name)
  shards = seqio.ShardInfo(shard, num_shards) if num_shards > 1 else None
  # SeqIO logs which task failed. The error that it raises says the same.
  with (
    reading(provider.name, dataset.split, dataset.use_cached),
    _verbosity(logging.FATAL),
  ):
    examples = provider.get_dataset(
      _trimmed(dataset.task_feature_lengths),
      split=dataset.split,
      use_cached=dataset.use_cached,
      shuffle=dataset.shuffle,
      seed=seed,
      shard_info=shards,
      num_epochs=None,
      # The whole cache would be saved with each position.
      try_in_mem_cache=False,
    )
  vector = seqio.FeatureConverter.FeatureSpec(dtype=tf.float32)
  size = dataset.task_feature_lengths.get(INPUTS_EMBEDDING)
  has_vector = size is not None
  if has_vector:
    # SeqIO would fill up a vector that is too short with zeros.
    examples = examples.map(
      lambda row: {
        **row,
        INPUTS_EMBEDDING: tf.ensure_shape(row[INPUTS_EMBEDDING], [size]),
      }
    )
  converter = seqio.EncDecFeatureConverter(
    pack=dataset.packing,
    # With packing, SeqIO refuses even an empty dict here.
    passthrough_features={INPUTS_EMBEDDING: vector} if has_vector else None,
  )
  rows = converter(
    examples, task_feature_lengths=dict(dataset.task_feature_lengths)
  )
  options = tf.data.Options()
  options.deterministic = True
  batches = rows.batch(dataset.batch_size // num_shards, drop_remainder=True)
  return batches.prefetch(2).with_options(options)


def _trimmed(lengths: Mapping[str, int]) -> dict[str, int]:
  """Returns the lengths that SeqIO trims examples to.

  A vector must not be trimmed, because its first half means nothing.
  """
  return {name: n for name, n in lengths.items() if name != INPUTS_EMBEDDING}


@contextlib.contextmanager
def _verbosity(level: int) -> Iterator[None]:
  before = logging.get_verbosity()
  logging.set_verbosity(level)
  try:
    yield
  finally:
    logging.set_verbosity(before)


def _damaged(
  provider: seqio.Task | seqio.Mixture, split: str, use_cached: bool
) -> tuple[str, str]:
  """Returns the first task with a file that cannot be read, and the file."""
  for task in _tasks(provider):
    if split not in splits_of(task):
      continue
    if use_cached and task.cache_dir:
      found = epath.Path(task.cache_dir).glob(f'{split}.tfrecord-*')
      files = sorted(map(str, found))
    else:
      files = [f for f in task.source.list_shards(split) if 'tfrecord' in f]
    for file in files:
      try:
        for _ in tf.data.TFRecordDataset(file):
          pass
      except tf.errors.OpError:
        return task.name, file
  return provider.name, 'a file'


def _tasks(provider: seqio.Task | seqio.Mixture) -> Sequence[seqio.Task]:
  return [provider] if isinstance(provider, seqio.Task) else provider.tasks
