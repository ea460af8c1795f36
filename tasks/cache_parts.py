"""A task's cache in parts, each a file that any process can write.

`plan` names the parts, `write_part` writes one of them, and `finish_task`
completes the cache once all of them are there.
"""

import collections
import contextlib
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from tasks import cached
from tasks.cached import Features, Stats


class Part(NamedTuple):
  """One file of a cache.

  Attributes:
    task: the task's name.
    split: the split.
    folder: the folder of the task's cache.
    shard: which of the split's files it is, from 0.
    num_shards: the number of files of the split.
  """

  task: str
  split: str
  folder: epath.Path
  shard: int
  num_shards: int


def plan(
  task: seqio.Task,
  root: epath.PathLike,
  splits: Iterable[str],
  num_shards: int | None = None,
  overwrite: bool = False,
) -> tuple[epath.Path, list[Part]]:
  """Decides which files of a task's cache are to be written.

  Args:
    task: the task to cache.
    root: the folder of all caches.
    splits: the splits that the cache is to have.
    num_shards: the number of files of a split; None for that of its source.
    overwrite: whether splits that are there and whole are written again.

  Returns:
    The folder of the task's cache, and its parts.
  """
  folder = epath.Path(root) / seqio.get_task_dir_from_name(task.name)
  parts = []
  for split in splits:
    if overwrite or not cached.has_split(folder, split):
      number = num_shards or len(task.source.list_shards(split)) or 1
      parts += [
        Part(task.name, split, folder, i, number) for i in range(number)
      ]
  return folder, parts


def write_part(part: Part) -> tuple[Features, Stats]:
  """Writes one file of a registered task's cache.

  Returns:
    The features and the counts of the file, for `finish_task`.

  Raises:
    ValueError: if SeqIO's reader could not parse a feature.
  """
  task = seqio.TaskRegistry.get(part.task)
  special = {
    name: (feature.vocabulary.pad_id, feature.vocabulary.eos_id)
    for name, feature in task.output_features.items()
  }
  with _seeds():
    rows = _read(task, part)
    elements: Any = rows.element_spec
    spec = cached.features(elements)
    vague = [
      name
      for name, element in elements.items()
      if isinstance(element, tf.TensorSpec)
      and (element.shape.rank is None or None in element.shape.as_list()[1:])
    ]
    stats = cached.write_shard(
      part.folder,
      part.split,
      _with_shapes(rows, spec, vague) if vague else rows,
      part.shard,
      part.num_shards,
      special,
    )
  return spec, stats


@contextlib.contextmanager
def _seeds() -> Iterator[None]:
  """Seeds all generators, so that every part draws the examples alike.

  A part may be every n-th example of the split, so all parts need them in the
  same order.
  """
  seeds: tuple[Any, ...] = (random.seed, np.random.seed, tf.random.set_seed)
  for seed in seeds:
    seed(0)
  try:
    yield
  finally:
    for seed in seeds:
      seed(None)


def _with_shapes(
  rows: tf.data.Dataset, spec: dict[str, dict[str, Any]], vague: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
  """Yields the rows, and completes `spec` by their shapes.

  TensorFlow does not know the shapes of the features in `vague`.
  """
  is_known = False
  for row in rows:
    actual = {
      name: {**spec[name], 'shape': cached.stored_shape(row[name].shape)}
      for name in vague
    }
    if is_known:
      _check_same(spec, {**spec, **actual})
    spec.update(actual)
    is_known = True
    yield row


def _check_same(one: Features, other: Features) -> None:
  for name, feature in one.items():
    if feature != other[name]:
      raise ValueError(
        f'Feature {name!r} has rows of shape {feature["shape"]} and '
        f'{other[name]["shape"]}, but only the first dimension may vary. Make '
        'it a tf.RaggedTensor.'
      )


def _read(task: seqio.Task, part: Part) -> tf.data.Dataset:
  """The rows of a part, as a cache holds them."""
  split, shard, number = part.split, part.shard, part.num_shards
  source = task.source
  if number == 1:
    examples = source.get_dataset(split=split, shuffle=False)
  elif (
    source.supports_arbitrary_sharding
    or len(source.list_shards(split)) >= number
  ):
    info = seqio.ShardInfo(shard, number)
    examples = source.get_dataset(split=split, shuffle=False, shard_info=info)
  else:
    examples = source.get_dataset(split=split, shuffle=False)
    examples = _in_order(examples).shard(number, shard)
  # Preprocessors that draw get another seed in each part.
  seed = zlib.crc32(f'{task.name} {split} {shard}'.encode())
  return _in_order(task.preprocess_precache(examples, seed=seed))


def _in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
  options = tf.data.Options()
  options.deterministic = True
  return dataset.with_options(options)


def finish_task(
  folder: epath.PathLike, outcomes: Mapping[Part, tuple[Features, Stats]]
) -> None:
  """Completes a cache whose parts are all written.

  Args:
    folder: the folder of the task's cache.
    outcomes: what `write_part` returned for each part.

  Raises:
    ValueError: if rows differ in a dimension that SeqIO's reader takes for
      constant.
  """
  by_split = collections.defaultdict(list)
  for part in sorted(outcomes, key=lambda part: part.shard):
    by_split[part.split].append(outcomes[part])
  for split, parts in by_split.items():
    # A shard without rows may lack shapes that only rows tell.
    specs = [spec for spec, stats in parts if stats['examples']]
    specs = specs or [parts[0][0]]
    for other in specs[1:]:
      _check_same(specs[0], other)
    cached.finish_split(folder, split, specs[0], [stats for _, stats in parts])
  cached.complete(folder)
