"""Writes SeqIO caches, which SeqIO reads with `use_cached=True`.

The folder of a task holds

  {split}.tfrecord-0000i-of-0000n  the rows
  info.{split}.json                the number of shards, shapes and types, and
                                   what `moe_lite.data.caches` tells files by
  stats.{split}.json               the numbers of examples and of tokens
  COMPLETED                        an empty file that is written last

A folder without COMPLETED is not whole.
"""

import collections
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from moe_lite.core import json_text
from moe_lite.data import caches

COMPLETED = 'COMPLETED'
# Padding and EOS of T5's vocabularies, which do not count as tokens.
_T5_SPECIAL = {'inputs': (0, 1), 'targets': (0, 1)}
# The types that SeqIO's reader can parse.
_TYPES = ('bool', 'int32', 'int64', 'float32', 'string')
_FILE = re.compile(
  r'(?P<records>.+)\.tfrecord-\d+-of-\d+|(?:info|stats)\.(?P<json>.+)\.json'
)

# {'inputs': {'shape': [None], 'dtype': 'int32'}}; bytes are 'string'.
Features = Mapping[str, Mapping[str, Any]]
Stats = Mapping[str, int]


def features(spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """The shapes and types of a data set's elements, as `info` files name them.

  Args:
    spec: the `element_spec` of the data set.

  Raises:
    ValueError: if SeqIO's reader could not parse a feature.
  """
  found = {}
  for name, element in sorted(spec.items()):
    if not isinstance(element, tf.TensorSpec | tf.RaggedTensorSpec):
      raise ValueError(
        f'Feature {name!r} is a {type(element).__name__}, but a cache holds '
        'only tensors and ragged tensors.'
      )
    if element.dtype.name not in _TYPES:
      raise ValueError(
        f'Feature {name!r} has type {element.dtype.name}, but SeqIO reads only '
        f'{", ".join(_TYPES)} from a cache. Cast the feature before '
        'CacheDatasetPlaceholder.'
      )
    found[name] = {
      'shape': stored_shape(element.shape),
      'dtype': element.dtype.name,
    }
  return found


def stored_shape(shape: tf.TensorShape) -> list[int | None]:
  """A shape as `info` files hold it: the first dimension may always vary."""
  if shape.rank is None:  # A Python function made it. Rows will tell more.
    return [None]
  return [None, *shape.as_list()[1:]] if shape.rank else []


def write_shard(
  folder: epath.PathLike,
  split: str,
  examples: Iterable[Mapping[str, Any]],
  shard: int = 0,
  num_shards: int = 1,
  special: Mapping[str, Collection[int | None]] = _T5_SPECIAL,
) -> dict[str, int]:
  """Writes one file of a split.

  Args:
    folder: the folder of the task.
    split: the name of the split.
    examples: arrays or ragged tensors by feature.
    shard: which of the files this is, from 0.
    num_shards: the number of files of the split.
    special: the features whose tokens are counted, each with the ids that do
      not count as tokens.

  Returns:
    The counts of this file, for `finish_split`.
  """
  path = epath.Path(folder) / caches.file_name(split, shard, num_shards)
  stats: dict[str, int] = {'examples': 0}
  with tf.io.TFRecordWriter(str(path)) as writer:
    for example in examples:
      example = {name: _array(value) for name, value in example.items()}
      writer.write(_serialize(example))
      stats['examples'] += 1
      for name, tokens in _tokens(example, special).items():
        total, most = f'{name}_tokens', f'{name}_max_tokens'
        stats[total] = stats.get(total, 0) + tokens
        stats[most] = max(stats.get(most, 0), tokens)
  return stats


def finish_split(
  folder: epath.PathLike, split: str, spec: Features, stats: Sequence[Stats]
) -> dict[str, int]:
  """Writes the info and the stats of a split whose shards are all there.

  Args:
    folder: the folder of the task.
    split: the name of the split.
    spec: what `features` returned.
    stats: the counts of each shard.

  Returns:
    The counts of the whole split.
  """
  whole: dict[str, int] = {}
  for one in stats:
    for name, count in one.items():
      merge = max if name.endswith('_max_tokens') else int.__add__
      whole[name] = merge(whole.get(name, 0), count)
  names = (caches.file_name(split, i, len(stats)) for i in range(len(stats)))
  files = [epath.Path(folder) / name for name in names]
  info = {
    'num_shards': len(stats),
    'features': {name: dict(feature) for name, feature in spec.items()},
    'seqio_version': seqio.__version__,
    caches.FILES: [caches.describe(file) for file in files],
  }
  for kind, content in (('info', info), ('stats', whole)):
    path = epath.Path(folder) / f'{kind}.{split}.json'
    path.write_text(json_text.dumps(content))
  return whole


def complete(folder: epath.PathLike) -> None:
  """Marks a folder as whole."""
  (epath.Path(folder) / COMPLETED).write_text('')


def is_complete(folder: epath.PathLike) -> bool:
  """Whether the folder holds a whole cache."""
  return (epath.Path(folder) / COMPLETED).exists()


def has_split(folder: epath.PathLike, split: str) -> bool:
  """Whether the folder holds a whole cache that has the split."""
  stats = epath.Path(folder) / f'stats.{split}.json'
  return is_complete(folder) and stats.exists()


def clear(folder: epath.PathLike, splits: Collection[str]) -> None:
  """Makes a folder ready for splits to be written to it.

  If the folder holds a whole cache, only these splits are deleted from it.
  Otherwise all files of a cache are. Other files stay.
  """
  if not splits:
    return
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  by_split = collections.defaultdict(list)
  for path in folder.iterdir():
    if match := _FILE.fullmatch(path.name):
      by_split[match['records'] or match['json']].append(path)
  if not is_complete(folder) or by_split.keys() <= set(splits):
    splits = list(by_split)
    # Deleted first, so that nobody takes the rest for a whole cache.
    (folder / COMPLETED).unlink(missing_ok=True)
  gone = itertools.chain(*(by_split[split] for split in splits))
  # The files that say that a split is there are deleted first.
  for path in sorted(gone, key=lambda path: path.suffix != '.json'):
    path.unlink()


def _array(value: Any) -> Any:
  """An array, unless the value is a ragged tensor."""
  if isinstance(value, tf.RaggedTensor):
    return value
  if tf.is_tensor(value):
    value = value.numpy()
  # NumPy's own type for bytes would drop zeros at their end.
  return np.asarray(value, object if isinstance(value, bytes) else None)


def _serialize(example: Mapping[str, Any]) -> bytes:
  feature = {}
  for name, value in example.items():
    if isinstance(value, tf.RaggedTensor):
      for i, length in enumerate(_row_lengths(value)):
        key = seqio.tfexample_ragged_length_key(name, i)
        feature[key] = _feature(length.numpy())
      value = _array(value.flat_values)
    feature[name] = _feature(value)
  return tf.train.Example(
    features=tf.train.Features(feature=feature)
  ).SerializeToString(deterministic=True)


def _row_lengths(value: tf.RaggedTensor) -> list[tf.Tensor]:
  """The row lengths of the dimensions that vary.

  SeqIO's reader knows the sizes of the other dimensions.
  """
  lengths = value.nested_row_lengths()
  sizes = value.shape.as_list()[1:]
  return [x for x, size in zip(lengths, sizes, strict=False) if size is None]


def _feature(value: np.ndarray) -> tf.train.Feature:
  flat = value.ravel()
  if value.dtype.kind in 'iub':  # A bool is an integer in a tf.Example.
    ints = flat.astype(np.int64).tolist()
    return tf.train.Feature(int64_list=tf.train.Int64List(value=ints))
  if value.dtype.kind == 'f':
    return tf.train.Feature(float_list=tf.train.FloatList(value=flat.tolist()))
  texts = [tf.compat.as_bytes(x) for x in flat.tolist()]
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))


def _tokens(
  example: Mapping[str, Any], special: Mapping[str, Collection[int | None]]
) -> dict[str, int]:
  """The number of tokens of each feature, without the special ones."""
  found = {}
  for name, others in special.items():
    value = example.get(name)
    # Ragged features are not counted, as in SeqIO.
    if isinstance(value, np.ndarray) and value.dtype.kind in 'iu':
      counted = np.ones(value.shape, bool)
      for other in others:
        if other is not None:
          counted &= value != other
      found[name] = int(counted.sum())
  return found
