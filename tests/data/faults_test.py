"""A split that cannot be read: the task, the reason and the user's own line."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError
from moe_lite.data import faults
from moe_lite.data.batches import Shard, open_first
from moe_lite.data.dataset import Dataset, read
from tests import tiny_run

LENGTHS = {'inputs': 8, 'targets': 4}


def add(name, columns, *preprocessors):
  """Registers a task that reads these columns."""

  def rows(split, shuffle_files, seed=None):
    return tf.data.Dataset.from_tensor_slices(columns)

  seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(
    name,
    seqio.FunctionDataSource(rows, splits=['train']),
    preprocessors=[*preprocessors, seqio.preprocessors.append_eos],
    output_features=tiny_run.FEATURES,
  )
  return name


def ids(*rows):
  return {
    'inputs': tf.ragged.constant(rows, tf.int32).to_tensor(),
    'targets': tf.ragged.constant(rows, tf.int32).to_tensor(),
  }


def their_question(dataset):
  return dataset.map(lambda row: {**row, 'inputs': row['question']})


def mixture(*tasks):
  seqio.MixtureRegistry.remove('faults_mixture')
  seqio.MixtureRegistry.add('faults_mixture', tasks, default_rate=1)
  return 'faults_mixture'


def dataset(name, **changes):
  return Dataset(name, LENGTHS, 2, **{'data_shards': 1, **changes})


def test_the_task_and_the_user_s_line_are_named():
  name = mixture(
    add('faults_good', ids([3, 4])),
    add('faults_bad', ids([3, 4]), their_question),
  )
  with pytest.raises(UserError) as error:
    Shard(dataset(name), 0, 0)
  said = str(error.value)
  assert "'faults_bad', a task of 'faults_mixture'" in said
  assert 'faults_test.py, line' in said and "row['question']" in said
  assert 'cache' not in said


def test_a_row_that_fails_later_is_named_too():
  def refuse(dataset):
    def check(row):
      with tf.control_dependencies(
        [tf.debugging.assert_less(row['inputs'], 9)]
      ):
        return {name: tf.identity(x) for name, x in row.items()}

    return dataset.map(check)

  name = mixture(
    add('faults_good', ids([3, 4])), add('faults_bad', ids([9, 4]), refuse)
  )
  shard = Shard(dataset(name), 0, 0)
  with pytest.raises(UserError, match="'faults_bad', a task of"):
    for _ in range(10):
      next(shard)


def test_a_task_without_rows_is_named():
  name = add('faults_empty', ids([3]))
  empty = {x: y[:0] for x, y in ids([3, 4]).items()}
  name = mixture(add('faults_empty', empty), add('faults_none', empty))
  with pytest.raises(UserError, match='no rows: faults_empty, faults_none'):
    next(Shard(dataset(name), 0, 0))


@pytest.mark.parametrize('bad, said', [(384, '384'), (-1, '-1')])
def test_ids_beyond_the_embedding_are_refused(bad, said):
  name = add('faults_ids', ids([3, bad]))
  message = f'has the id {said} in .*input.*rows 0 to 383'
  with pytest.raises(UserError, match=message):
    open_first(dataset(name, packing=False), 0, 384)
  with pytest.raises(UserError, match=message):
    read(seqio.get_mixture_or_task(name), 'train', LENGTHS, vocab_size=384)
  open_first(dataset(name, packing=False), 0, 385) if bad > 0 else None


def test_what_is_peeked_at_stays_in_the_stream():
  name = add('faults_stream', ids([3, 4], [5, 6], [7, 8]))
  whole = Shard(dataset(name, packing=False), 0, 0)
  (looked,) = open_first(dataset(name, packing=False), 0, 384).values()
  for _ in range(4):
    for one, other in zip(
      next(whole).values(), next(looked).values(), strict=True
    ):
      np.testing.assert_array_equal(one, other)


def test_other_numbers_are_no_ids():
  faults.check_ids({'x': np.array([0.5]), 'y': np.zeros(0, int)}, 1, 'A batch')
