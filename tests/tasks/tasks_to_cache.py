"""Tasks of every kind that a cache must hold, or must refuse.

Tests copy this file to a folder of their own and import it from there, in every
process that caches. It keeps the files of its tasks beside itself.
"""

import functools
import os
import pathlib
import time

import numpy as np
import seqio
import tensorflow as tf

from tasks import mini

HERE = pathlib.Path(__file__).parent
ROWS = {'train': 7, 'validation': 2, 'none': 0}
PREPROCESSORS = (
  seqio.preprocessors.tokenize,
  seqio.CacheDatasetPlaceholder(),
  seqio.preprocessors.append_eos,
)


def rows(split, shuffle_files=False, seed=None):
  """Rows with features of every type and shape that a cache can hold."""
  numbers = range(ROWS[split])
  texts = lambda values: tf.constant(list(values), tf.string)
  ragged = lambda values, dtype: tf.ragged.constant(
    values, dtype, ragged_rank=2
  )
  return tf.data.Dataset.from_tensor_slices(
    {
      'inputs': texts('a trout ' * (i + 1) for i in numbers),
      'targets': texts('fish' if i % 2 else 'a bird' for i in numbers),
      'idx': tf.constant(
        [[i, i % 2] for i in numbers], tf.int32, (len(numbers), 2)
      ),
      'is_correct': tf.constant([i % 2 == 1 for i in numbers], tf.bool),
      'weight': tf.constant([i / 3 for i in numbers], tf.float32),
      'raw': texts(b'\0%d\0' % i for i in numbers),
      'grid': tf.ones([len(numbers), 2, 3], tf.int64),
      'choices': tf.ragged.constant(
        [['fish', 'bird'][: i % 3] for i in numbers], tf.string, ragged_rank=1
      ),
      'spans': ragged([[[i], [], [1, i]][: i % 4] for i in numbers], tf.int32),
      'marks': ragged([[[i > 1, True]] for i in numbers], tf.bool),
    }
  )


def add(name, rows=rows, preprocessors=PREPROCESSORS, splits=tuple(ROWS)):
  source = rows
  if callable(rows):
    source = seqio.FunctionDataSource(rows, splits=splits)
  seqio.TaskRegistry.add(
    name,
    source=source,
    preprocessors=preprocessors,
    output_features=mini.FEATURES,
  )


def texts(split, shuffle_files=False, seed=None):
  """Four short rows."""
  some = [f'line {i}' for i in range(4)]
  return tf.data.Dataset.from_tensor_slices({'inputs': some, 'targets': some})


def lines():
  """Adds a task that reads three files."""
  for i in range(3):
    text = ''.join(f'file {i} line {j}\n' for j in range(i + 1))
    (HERE / f'lines-{i}.txt').write_text(text)
  both = lambda ds: ds.map(lambda line: {'inputs': line, 'targets': line})
  add(
    'cache_files',
    seqio.TextLineDataSource({'train': str(HERE / 'lines-*.txt')}),
    (both, *PREPROCESSORS),
  )


class Divisible(seqio.DataSource):
  """A source without files that can be cut into any number of shards."""

  supports_arbitrary_sharding = True

  def list_shards(self, split):
    return ['all']

  def get_dataset(self, split, shuffle=True, seed=None, shard_info=None):
    shard = shard_info or seqio.ShardInfo(0, 1)
    return texts(split).shard(shard.num_shards, shard.index)


def unknown_shapes(dataset):
  """Has TensorFlow forget the shapes of some features."""

  def change(row):
    ids = tf.numpy_function(lambda x: x, [row['targets']], tf.int32)
    both = tf.numpy_function(lambda x: np.stack([x, x], 1), [ids], tf.int32)
    return {**row, 'targets': tf.ensure_shape(ids, [None]), 'both': both}

  return dataset.map(change)


def failing(dataset):
  def fail(x):
    raise ValueError('the third line is bad')

  return dataset.map(
    lambda row: {**row, 'x': tf.numpy_function(fail, [row['inputs']], tf.int32)}
  )


def with_x(value, dataset):
  """Adds the feature x."""
  return dataset.map(lambda row: {**row, 'x': value(row)})


def unordered(split, shuffle_files=False, seed=None):
  """Rows in the order of a set, once two processes are here."""
  (HERE / f'worker-{os.getpid()}').touch()
  while len(list(HERE.glob('worker-*'))) < 2:
    time.sleep(0.1)
  # Python hashes texts anew in every process, unless told otherwise.
  some = list({f'word {i}' for i in range(50)})
  return tf.data.Dataset.from_tensor_slices({'inputs': some, 'targets': some})


def slow(split, shuffle_files=False, seed=None):
  """Rows that come when the file `wait` is gone."""
  while (HERE / 'wait').exists():
    (HERE / 'waiting').write_text(str(os.getpid()))
    time.sleep(0.1)
  return texts(split)


add('cache_all')
add('cache_texts', texts, splits=('train',))
lines()
add('cache_divisible', Divisible(['train']))
add(
  'cache_unknown',
  preprocessors=(
    seqio.preprocessors.tokenize,
    unknown_shapes,
    *PREPROCESSORS[1:],
  ),
)
add(
  'cache_none_left',
  preprocessors=(
    lambda dataset: dataset.filter(lambda row: row['weight'] < 0),
    *PREPROCESSORS,
  ),
)
add('cache_failing', texts, (failing, *PREPROCESSORS), ('train',))
add('cache_uncacheable', texts, PREPROCESSORS[:1], ('train',))
add(
  'cache_double',
  texts,
  (
    functools.partial(with_x, lambda row: tf.constant(1.0, tf.float64)),
    *PREPROCESSORS,
  ),
  ('train',),
)
add(
  'cache_uneven',
  texts,
  (
    PREPROCESSORS[0],
    functools.partial(
      with_x,
      lambda row: tf.numpy_function(
        lambda ids: np.ones([2, ids[-1] % 5], np.int32),
        [row['inputs']],
        tf.int32,
      ),
    ),
    *PREPROCESSORS[1:],
  ),
  ('train',),
)
add(
  'cache_no_files', seqio.TextLineDataSource({'train': str(HERE / 'absent-*')})
)
seqio.MixtureRegistry.add(
  'cache_mixture', ['cache_all', 'cache_texts', 'cache_uncacheable'], 1.0
)
add('cache_unordered', unordered, splits=('train',))
add('cache_slow', slow, splits=('train',))
