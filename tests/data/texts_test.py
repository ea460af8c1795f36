"""Tasks of texts give the examples that SeqIO makes of them."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from moe_lite.data import registry, texts
from tasks.mini import suite

LENGTHS = {'inputs': 12, 'targets': 99}  # Inputs are trimmed.


def add_task(
  name: str, rows: int, preprocessors=None, split: str = 'train'
) -> str:
  texts = [f'the red box {name} is number {i} .' for i in range(rows)]
  columns = {'inputs': texts, 'targets': texts[::-1], 'more': list(range(rows))}
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(
      lambda split, shuffle_files=False, seed=None: (
        tf.data.Dataset.from_tensor_slices(columns)
      ),
      splits=(split,),
    ),
    preprocessors=preprocessors
    or (
      seqio.preprocessors.tokenize,
      seqio.CacheDatasetPlaceholder(),
      seqio.preprocessors.append_eos,
    ),
    output_features=suite.FEATURES,
    shuffle_buffer_size=7,
  )
  return name


@pytest.fixture(scope='module')
def mixture():
  names = [add_task(f'mixed_{n}', n) for n in (5, 11, 30)]
  inner = seqio.MixtureRegistry.add(
    'mixed_inner', [(names[0], 3.0), (names[1], lambda task: 1.0)]
  )
  return seqio.MixtureRegistry.add('mixed', [(inner.name, 2), (names[2], 5.0)])


def rows(dataset: tf.data.Dataset, count: int = 90):
  found = dataset.take(count).as_numpy_iterator()
  return [(row['inputs'].tolist(), row['targets'].tolist()) for row in found]


@pytest.mark.parametrize(
  'options',
  [
    {'shuffle': True, 'seed': 3, 'shard_info': None},
    {'shuffle': True, 'seed': 4, 'shard_info': seqio.ShardInfo(1, 2)},
    {'shuffle': False, 'seed': None, 'shard_info': None},
  ],
)
def test_the_stream_is_that_of_seqio(mixture, options):
  ours = texts.get_dataset(mixture, LENGTHS, 'train', False, **options)
  theirs = mixture.get_dataset(
    LENGTHS, split='train', num_epochs=None, try_in_mem_cache=False, **options
  )
  found = rows(ours)
  assert found == rows(theirs)
  assert max(len(inputs) for inputs, _ in found) == LENGTHS['inputs']
  assert {targets[-1] for _, targets in found} == {1}  # EOS.


def test_a_mixture_may_be_named_by_its_parts():
  names = [add_task(f'part_{n}', n) for n in (5, 6)]
  options = {'shuffle': False, 'seed': None, 'shard_info': None}
  ours = texts.get_dataset(
    registry.find('+'.join(names)), LENGTHS, 'train', False, **options
  )
  whole = seqio.MixtureRegistry.add('parts', names, default_rate=1.0)
  theirs = texts.get_dataset(whole, LENGTHS, 'train', False, **options)
  assert rows(ours, 20) == rows(theirs, 20)


def test_a_task_without_the_split_has_no_say():
  def unlike(dataset):
    raise AssertionError('It is not read.')

  names = [add_task('a_without', 3, (unlike,), split='validation')]
  names += [add_task(f'b_with_{n}', n) for n in (5, 6)]
  mixture = seqio.MixtureRegistry.add('some_without', names, default_rate=1.0)
  options = {'shuffle': True, 'seed': 1, 'shard_info': None}
  ours = texts.get_dataset(mixture, LENGTHS, 'train', False, **options)
  theirs = mixture.get_dataset(
    LENGTHS, split='train', num_epochs=None, try_in_mem_cache=False, **options
  )
  assert rows(ours, 20) == rows(theirs, 20)


def test_tasks_that_are_preprocessed_otherwise_are_left_to_seqio(monkeypatch):
  def twice(dataset):
    return dataset.flat_map(
      lambda row: tf.data.Dataset.from_tensors(row).repeat(2)
    )

  steps = (seqio.preprocessors.tokenize, twice, seqio.preprocessors.append_eos)
  names = [add_task(f'twice_{n}', n, steps) for n in (3, 4)]
  mixture = seqio.MixtureRegistry.add('twice', names, default_rate=1.0)
  asked = []
  monkeypatch.setattr(
    seqio.Mixture,
    'get_dataset',
    lambda self, lengths, **options: asked.append((self, lengths, options)),
  )
  options = {'shuffle': True, 'seed': 0, 'shard_info': None}
  texts.get_dataset(mixture, LENGTHS, 'train', False, **options)
  ((provider, lengths, given),) = asked
  assert provider is mixture and lengths == LENGTHS
  assert given['num_epochs'] is None and not given['use_cached']


def test_the_examples_of_a_task_are_those_of_seqio():
  task = seqio.TaskRegistry.get(add_task('rows_of_texts', 9))
  theirs = task.get_dataset(split='train', shuffle=False)
  found = texts.rows(task, 'train', None)
  for ours, row in zip(found, theirs.as_numpy_iterator(), strict=True):
    assert ours.keys() == row.keys()
    for name, value in row.items():
      np.testing.assert_array_equal(ours[name], value)
      assert np.asarray(ours[name]).dtype == np.asarray(value).dtype
  assert len(texts.rows(task, 'train', 2)) == 2
