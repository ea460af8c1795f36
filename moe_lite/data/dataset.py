"""Reads SeqIO's tasks and mixtures, and checks them before anything runs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from absl import logging

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.features import INPUTS_EMBEDDING, TASK_NUMBER, TASK_NUMBERS
from moe_lite.core.logs import verbosity
from moe_lite.data import caches, task_ids, texts
from moe_lite.data.faults import check_ids, reading
from moe_lite.data.registry import find, splits_of, tasks_of

# T5X rounds the vocabulary of a network up to a multiple of this.
VOCABULARY_ROUNDING = 128
# An embedding may so have more rows than the vocabulary has entries: those of
# rounding, and those of T5's sentinels where the vocabulary lacks them.
_UNUSED_ROWS = VOCABULARY_ROUNDING - 1 + 100
# The entry of an example that names its features that were trimmed.
TRIMMED = 'trimmed'


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
    task_ids: what the numbers beside tokens stand for, one of `task_ids.BY`.
      With None, tokens have no numbers.
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
  task_ids: str | None = None

  @property
  def num_choices(self) -> int:
    """How many targets each row has to choose from; 0 if it has just one."""
    return 0

  def load(
    self, seed: int, shard: int = 0, num_shards: int = 1
  ) -> tf.data.Dataset:
    """Loads the endless stream of one part of every batch; see `load`."""
    return load(self, seed, shard, num_shards)


def check(dataset: Dataset, vocab_size: int) -> None:
  """Raises UserError unless the data exist and suit the network.

  Args:
    dataset: the data.
    vocab_size: how many rows the network's embedding has.
  """
  provider = find(dataset.mixture_or_task_name)
  check_split(provider, dataset.split, dataset.use_cached)
  check_vocabulary(provider, vocab_size)
  task_ids.names(provider, dataset.task_ids)
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
  read(tasks_of(provider)[0], dataset.split, lengths, dataset.use_cached, 1)


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
  tasks = tasks_of(provider)
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
    for task in cacheable:
      caches.check(task.name, str(task.cache_dir), split)
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


def check_vocabulary(
  provider: seqio.Task | seqio.Mixture, vocab_size: int
) -> None:
  """Raises UserError unless the network's embedding suits the vocabulary."""
  for name, feature in provider.output_features.items():
    if name == INPUTS_EMBEDDING:
      continue
    size = feature.vocabulary.vocab_size
    if not size <= vocab_size <= size + _UNUSED_ROWS:
      raise UserError(
        f"The network's vocabulary has {vocab_size} entries, but that of "
        f'{name!r} in {provider.name!r} has {size}. The network needs at least '
        f'{size} and at most {size + _UNUSED_ROWS} entries. The models/ gin '
        'file and the data/ gin file do not belong together.'
      )


def read(
  task: seqio.Task,
  split: str,
  lengths: Mapping[str, int],
  use_cached: bool = False,
  most: int | None = None,
  vocab_size: int | None = None,
  number: int | None = None,
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
    vocab_size: how many rows the embedding has; None checks no ids.
    number: the number of the task; see `task_ids`. None gives it none.

  Returns:
    A dict of NumPy arrays for each example. Where features were trimmed, its
    entry `TRIMMED` names them.

  Raises:
    UserError: if the split has no rows, if it cannot be read, if an id is
      beyond the embedding, or if a vector is missing or has another size.
  """
  with reading(task.name, split, use_cached):
    rows = None if use_cached else texts.rows(task, split, most)
    if rows is None:
      dataset = task.get_dataset(
        _trimmed(lengths),
        split=split,
        use_cached=use_cached and task.supports_caching,
        shuffle=False,
        try_in_mem_cache=False,
        # They are trimmed below, in the same way, so that this is known.
        trim_output_features=False,
      )
      dataset = dataset.take(-1 if most is None else most)
      rows = list(dataset.with_options(_at_once()).as_numpy_iterator())
  if not rows:
    raise UserError(
      f'Split {split!r} of task {task.name!r} is empty. Choose another split, '
      'or a mixture without this task.'
    )
  for row in rows:
    if trimmed := _trim(row, task, lengths):
      row[TRIMMED] = trimmed
    if vocab_size is not None:
      ids = {name: row[name] for name in ('inputs', 'targets') if name in row}
      check_ids(ids, vocab_size, f'An example of {task.name!r}')
  size = lengths.get(INPUTS_EMBEDDING)
  for row in rows if size is not None else ():
    shape = np.shape(row.get(INPUTS_EMBEDDING, ()))
    if shape != (size,):
      raise UserError(
        f'TASK_FEATURE_LENGTHS gives {INPUTS_EMBEDDING!r} {size} numbers, but '
        f'an example of {task.name!r} has '
        + (f'the shape {list(shape)}.' if INPUTS_EMBEDDING in row else 'none.')
      )
  if number is not None:
    rows = [{**row, TASK_NUMBER: number} for row in rows]
  return rows


def task_names(dataset: Dataset) -> list[str]:
  """Returns what numbers beside tokens stand for; the first has number 1.

  The list is empty if tokens have no numbers.

  Raises:
    UserError: if there is no such mixture.
  """
  return task_ids.names(find(dataset.mixture_or_task_name), dataset.task_ids)


def tasks_known(dataset: Dataset) -> dict[str, Any] | None:
  """Returns what `Description.tasks` says of the numbers beside tokens.

  It is None if tokens have no numbers.

  Raises:
    UserError: if there is no such mixture.
  """
  if dataset.task_ids is None:
    return None
  return {'by': dataset.task_ids, 'names': task_names(dataset)}


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
    int32, but 'inputs_embedding' is float32. With numbers beside tokens, there
    are also the features `features.TASK_IDS` and `features.TASK_NUMBERS`.

  Raises:
    UserError: if the data are missing.
  """
  provider = find(dataset.mixture_or_task_name)
  shards = seqio.ShardInfo(shard, num_shards) if num_shards > 1 else None
  # SeqIO logs which task failed. The error that it raises says the same.
  with (
    reading(provider.name, dataset.split, dataset.use_cached),
    verbosity(logging.FATAL),
  ):
    examples = texts.get_dataset(
      provider,
      _trimmed(dataset.task_feature_lengths),
      split=dataset.split,
      use_cached=dataset.use_cached,
      numbered_by=dataset.task_ids,
      shuffle=dataset.shuffle,
      seed=seed,
      shard_info=shards,
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
  lengths = dict(dataset.task_feature_lengths)
  convert = seqio.EncDecFeatureConverter
  if dataset.task_ids:
    convert, lengths = task_ids.FeatureConverter, task_ids.lengths(lengths)
  converter = convert(
    pack=dataset.packing,
    # With packing, SeqIO refuses even an empty dict here.
    passthrough_features={INPUTS_EMBEDDING: vector} if has_vector else None,
  )
  rows = converter(examples, task_feature_lengths=lengths)
  if known := task_names(dataset):
    column = tf.range(1, len(known) + 1)
    rows = rows.map(lambda row: {**row, TASK_NUMBERS: column})
  options = tf.data.Options()
  options.deterministic = True
  batches = rows.batch(dataset.batch_size // num_shards, drop_remainder=True)
  return batches.prefetch(2).with_options(options)


def _at_once() -> tf.data.Options:
  """Options of a pipeline that is read once: it is not worth to be tuned."""
  options = tf.data.Options()
  options.autotune.enabled = False
  options.experimental_optimization.apply_default_optimizations = False
  return options


def _trim(
  row: dict[str, Any], task: seqio.Task, lengths: Mapping[str, int]
) -> tuple[str, ...]:
  """Trims the features of a row, as SeqIO does, and names those trimmed."""
  found = []
  for name, most in _trimmed(lengths).items():
    if name in task.output_features and len(row.get(name, ())) > most:
      row[name] = row[name][:most]
      found.append(name)
  return tuple(found)


def _trimmed(lengths: Mapping[str, int]) -> dict[str, int]:
  """Returns the lengths that SeqIO trims examples to.

  A vector must not be trimmed, because its first half means nothing.
  """
  return {name: n for name, n in lengths.items() if name != INPUTS_EMBEDDING}
