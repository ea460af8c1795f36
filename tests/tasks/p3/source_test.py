"""P3 is read from both layouts alike."""

import jax
import numpy as np
import pytest
import seqio
import tensorflow as tf

from moe_lite.core import partitioning
from moe_lite.data import batches
from moe_lite.data import dataset as data
from moe_lite.process import cli
from tasks import cache
from tasks.mini import vocabulary
from tasks.p3 import source, table
from tests.tasks.p3 import copies
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


@pytest.mark.parametrize('name', copies.PUBLISHED)
def test_rows_are_read_as_they_were_written(copy, name):
  found = copies.read(name, 'validation')
  written = p3_rows.rows(name, 'validation', 3)
  assert len(found) == len(written)
  for one, row in zip(found, written, strict=True):
    assert one.keys() == row.keys()
    for key, value in row.items():
      if key == 'answer_choices':
        assert [choice.decode() for choice in one[key]] == value
      elif isinstance(value, str):
        assert one[key].decode() == value
      else:
        assert one[key].dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(one[key], value)


def test_rows_to_train_on_are_ids_alone(copy):
  found = copies.read(copies.TRAIN)
  written = p3_rows.rows(copies.TRAIN, 'train', 7)
  for one, row in zip(found, written, strict=True):
    assert one.keys() == {'inputs', 'targets'}
    for key, ids in one.items():
      np.testing.assert_array_equal(ids, row[key])


def test_shards_hold_each_row_once(copy):
  task = seqio.get_mixture_or_task(copies.TRAIN)
  found = []
  for i in range(3):
    shard = task.get_dataset(
      copies.LENGTHS, shuffle=False, shard_info=seqio.ShardInfo(i, 3)
    )
    found += [r['inputs'].tobytes() for r in shard.as_numpy_iterator()]
  wanted = [
    r['inputs'].tobytes() for r in p3_rows.rows(copies.TRAIN, 'train', 7)
  ]
  assert sorted(found) == sorted(wanted)


def test_stock_seqio_reads_a_cache_too(tmp_path):
  p3_rows.write_cache(tmp_path, copies.TWIN, {'validation': 3})
  seqio.add_global_cache_dirs([str(tmp_path)])
  for use_cached in (False, True):
    rows = copies.read(copies.TWIN, 'validation', use_cached=use_cached)
    assert [bool(r['is_correct']) for r in rows] == [
      r['is_correct'] for r in p3_rows.rows(copies.TWIN, 'validation', 3)
    ]


def test_text_is_tokenized_with_another_vocabulary(copy):
  copies.use_mini_vocabulary()
  mini = vocabulary.vocabulary()
  for name in copies.PUBLISHED:
    for one in copies.read(name):
      text = one['inputs_pretokenized'].decode()
      assert (
        one['inputs'].tolist() == mini.encode(text)[: copies.LENGTHS['inputs']]
      )
      target = one['targets_pretokenized'].decode().strip()
      assert one['targets'].tolist() == [*mini.encode(target), 1]
  feature = seqio.get_mixture_or_task(copies.TRAIN).output_features['inputs']
  assert feature.vocabulary.vocab_size == mini.vocab_size


def test_a_twin_that_was_not_published_is_made_from_its_task(copy):
  copies.use_mini_vocabulary()
  rows = copies.read(f'{copies.TRAIN}_score_eval')
  base = p3_rows.rows(copies.TRAIN, 'train', 7)
  assert len(rows) == sum(len(row['answer_choices']) for row in base)
  for row in rows:
    example, choice = row['idx']
    target = row['targets_pretokenized'].decode()
    of = base[example]
    assert of['answer_choices'][choice] == target
    assert bool(row['is_correct']) == (
      target == of['targets_pretokenized'].strip()
    )
    assert row['inputs_pretokenized'].decode() == of['inputs_pretokenized']
  assert sum(bool(row['is_correct']) for row in rows) == 7


def test_a_made_twin_can_be_cached(copy, tmp_path_factory):
  copies.use_mini_vocabulary()
  name = f'{copies.TRAIN}_score_eval'
  out = tmp_path_factory.mktemp('made')
  argv = [
    'cache',
    *(f'--tasks={name}', '--module_import=tasks.p3', '--splits=validation'),
    *(f'--out={out}', f'--seqio_additional_cache_dirs={copy}', '--workers=0'),
  ]
  assert cli.guard(cache.cache, argv, None) == 0
  here = copies.read(name, 'validation')
  seqio.add_global_cache_dirs([str(out)])
  cached_rows = copies.read(name, 'validation', use_cached=True)
  key = lambda row: tuple(row['idx'])  # Files are interleaved.
  for one, other in zip(here, sorted(cached_rows, key=key), strict=True):
    np.testing.assert_equal(one, other)


def test_a_stream_goes_on_where_it_was(copy):
  """By the saved position of a cache; parquet files are read again."""
  dataset = data.Dataset(copies.TRAIN, copies.LENGTHS, batch_size=2)
  open_stream = lambda: batches.Batches(
    dataset, partitioning.make_mesh((1, 1)), seed=0
  )
  stream = open_stream()
  next(stream), next(stream)
  position = stream.position()
  is_parquet = bool(list(copy.rglob('*.parquet')))
  assert bool(position) != is_parquet
  wanted = [next(stream) for _ in range(3)]
  again = open_stream()
  assert again.restore(position, 2) != is_parquet
  for batch in wanted:
    jax.tree.map(np.testing.assert_array_equal, next(again), batch)


def test_any_file_system_of_tensorflow_will_do(copy):
  remote = f'ram://{copy.name}'
  for path in copy.rglob('*'):
    if path.is_file():
      target = f'{remote}/{path.relative_to(copy)}'
      tf.io.gfile.makedirs(target.rpartition('/')[0])
      with tf.io.gfile.GFile(target, 'wb') as file:
        file.write(path.read_bytes())
  here = {name: copies.read(name, 'validation') for name in copies.PUBLISHED}
  seqio.set_global_cache_dirs([remote])
  for name in copies.PUBLISHED:
    assert (
      remote
      in seqio.get_mixture_or_task(name).source.list_shards('validation')[0]
    )
    np.testing.assert_equal(copies.read(name, 'validation'), here[name])


def test_all_published_signatures_are_covered():
  kinds = {frozenset(source.signature(name)) for name in copies.PUBLISHED}
  assert len(kinds) == 3
  assert all(table.published_rows(name) for name in copies.PUBLISHED)
