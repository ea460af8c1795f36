"""Numbers beside tokens, through mixtures, caches, trimming and packing."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError
from moe_lite.data import catalog, dataset, task_ids
from tasks import cache
from tasks.mini import suite

LENGTHS = {'inputs': 60, 'targets': 40}
ROWS = {'numbers_a': 5, 'numbers_b': 11, 'numbers_c': 30}
DATA_SETS = {'numbers_a': 'one', 'numbers_b': 'two', 'numbers_c': 'one'}
SIDES = (
  ('encoder', 'encoder_input_tokens'),
  ('decoder', 'decoder_target_tokens'),
)
STEPS = (
  seqio.preprocessors.tokenize,
  seqio.CacheDatasetPlaceholder(),
  seqio.preprocessors.append_eos,
)


def keep(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """A preprocessor that makes a task one that only SeqIO can read."""
  return dataset


def add_tasks(prefix: str, steps=STEPS) -> seqio.Mixture:
  """Tasks whose every example names its task."""
  for name, count in ROWS.items():
    texts = [f'{name[-1]} is number {i} .' for i in range(count)]
    columns = {'inputs': texts, 'targets': texts[::-1]}
    seqio.TaskRegistry.add(
      prefix + name,
      source=seqio.FunctionDataSource(
        lambda split, shuffle_files=False, seed=None, columns=columns: (
          tf.data.Dataset.from_tensor_slices(columns)
        ),
        splits=('train',),
      ),
      preprocessors=steps,
      output_features=suite.FEATURES,
      shuffle_buffer_size=7,
    )
    catalog.add(
      catalog.TaskInfo(
        prefix + name, prefix + DATA_SETS[name], 'x', name, None, False
      )
    )
  inner = seqio.MixtureRegistry.add(
    f'{prefix}inner', [(f'{prefix}numbers_c', 3.0), (f'{prefix}numbers_a', 2)]
  )
  return seqio.MixtureRegistry.add(
    f'{prefix}numbers', [(inner.name, 2), (f'{prefix}numbers_b', 5.0)]
  )


@pytest.fixture(scope='module')
def mixtures():
  return {
    'of texts': add_tasks('texts_').name,
    'of SeqIO': add_tasks('own_', (*STEPS, keep)).name,
  }


def first(name: str, by: str | None, packing: bool, use_cached: bool = False):
  """The first batch of a mixture, as NumPy arrays."""
  data = dataset.Dataset(
    name,
    LENGTHS,
    batch_size=16,
    packing=packing,
    use_cached=use_cached,
    task_ids=by,
  )
  return next(dataset.load(data, seed=3).as_numpy_iterator())


def examples(batch, side: str, tokens: str):
  """(the tokens of an example, its numbers) for all of a batch."""
  segments = batch.get(f'{side}_segment_ids', batch[tokens] > 0)
  for row, ids, of_row in zip(
    batch[tokens], batch[f'{side}_task_ids'], segments, strict=True
  ):
    for segment in range(1, of_row.max() + 1):
      yield row[of_row == segment], ids[of_row == segment]


@pytest.mark.parametrize(
  ('kind', 'by'), [('of texts', 'dataset'), ('of SeqIO', 'task')]
)
def test_every_token_of_a_packed_batch_bears_its_tasks_number(
  mixtures, kind, by
):
  name = mixtures[kind]
  batch = first(name, by, packing=True)
  vocabulary = suite.FEATURES['inputs'].vocabulary
  names = task_ids.names(seqio.get_mixture_or_task(name), by)
  assert batch['task_numbers'].tolist() == [list(range(1, len(names) + 1))] * 16
  found = set()
  for side, tokens in SIDES:
    np.testing.assert_array_equal(
      batch[f'{side}_task_ids'] > 0, batch[tokens] > 0
    )
    for ids, of_tokens in examples(batch, side, tokens):
      task = (
        f'{name.split("_")[0]}_numbers_{vocabulary.decode(ids.tolist())[0]}'
      )
      info = catalog.lookup(task)
      wanted = task if by == 'task' else info.dataset
      assert {names[x - 1] for x in of_tokens} == {wanted}
      found.add(wanted)
  assert found == set(names) and len(names) == (3 if by == 'task' else 2)
  # Rows hold several tasks.
  assert max(len(set(row[row > 0])) for row in batch['encoder_task_ids']) > 1


@pytest.mark.parametrize(
  ('kind', 'packing'), [('of texts', True), ('of SeqIO', False)]
)
def test_the_rows_are_those_without_numbers(mixtures, kind, packing):
  plain = first(mixtures[kind], None, packing)
  numbered = first(mixtures[kind], 'task', packing)
  assert numbered.keys() - plain.keys() == {
    'encoder_task_ids',
    'decoder_task_ids',
    'task_numbers',
  }
  for feature, value in plain.items():
    np.testing.assert_array_equal(value, numbered[feature])


def test_packed_rows_bear_the_numbers_of_rows_apart(mixtures):
  def all_of(packing):
    batch = first(mixtures['of texts'], 'task', packing)
    return {
      (side, tuple(ids.tolist())): numbers.tolist()
      for side, tokens in SIDES
      for ids, numbers in examples(batch, side, tokens)
    }

  packed, apart = all_of(True), all_of(False)
  shared = packed.keys() & apart.keys()
  assert len(shared) > 20
  assert {x: packed[x] for x in shared} == {x: apart[x] for x in shared}


def test_a_cache_holds_no_numbers_and_batches_have_them(mixtures, tmp_path):
  name = mixtures['of texts']
  fresh = first(name, 'dataset', packing=True)
  cache.cache(['cache', f'--tasks={name}', f'--out={tmp_path}', '--workers=0'])
  before = seqio.get_global_cache_dirs()
  seqio.set_global_cache_dirs([*before, str(tmp_path)])
  try:
    # A cache is read in another order; its examples are numbered alike.
    cached = first(name, 'dataset', packing=True, use_cached=True)
  finally:
    seqio.set_global_cache_dirs(before)
  wanted = {
    tuple(ids.tolist()): numbers.tolist()
    for ids, numbers in examples(fresh, 'encoder', 'encoder_input_tokens')
  }
  found = {
    tuple(ids.tolist()): numbers.tolist()
    for ids, numbers in examples(cached, 'encoder', 'encoder_input_tokens')
  }
  shared = wanted.keys() & found.keys()
  assert len(shared) > 10
  assert {x: found[x] for x in shared} == {x: wanted[x] for x in shared}


def test_long_examples_are_trimmed_with_their_numbers(mixtures):
  data = dataset.Dataset(
    mixtures['of SeqIO'],
    {'inputs': 3, 'targets': 2},
    batch_size=4,
    task_ids='task',
  )
  batch = next(dataset.load(data, seed=0).as_numpy_iterator())
  assert (batch['encoder_task_ids'] > 0).all()
  assert batch['decoder_task_ids'].shape == (4, 2)


def test_padding_within_an_example_has_no_number():
  rows = tf.data.Dataset.from_tensors(
    {'inputs': [5, 0, 7, 8], 'targets': [6, 1]}
  )
  numbered = task_ids.spread(task_ids.attach(2)(rows))
  (row,) = numbered.as_numpy_iterator()
  assert row['inputs_task_ids'].tolist() == [2, 0, 2, 2]
  assert row['targets_task_ids'].tolist() == [2, 2]


def test_a_single_task_is_number_one(mixtures):
  del mixtures
  batch = first('own_numbers_b', 'task', packing=False)
  assert set(batch['encoder_task_ids'].ravel()) == {0, 1}


def test_other_values_are_refused(mixtures):
  with pytest.raises(UserError, match="TASK_IDS = 'prompt' must be 'task'"):
    task_ids.names(seqio.get_mixture_or_task(mixtures['of texts']), 'prompt')
