"""The parts of a cache together hold the rows of the source."""

import pytest

from tests.tasks import caches

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


@pytest.mark.parametrize('num_shards', [1, 3])
def test_cached_rows_are_the_uncached_ones(run, tmp_path, num_shards):
  code, text = run('cache_all', f'--num_shards={num_shards}')
  assert code == 0, text
  assert f'--seqio_additional_cache_dirs={tmp_path}' in text
  assert '--gin.USE_CACHED_TASKS=True' in text
  for split, number in (('train', 7), ('validation', 2), ('none', 0)):
    expected = caches.read_rows('cache_all', split)
    found = caches.read_rows('cache_all', split, tmp_path)
    assert len(found) == number
    assert caches.sort_rows(found) == caches.sort_rows(expected)
    if num_shards == 1:
      assert found == expected
    files = list((tmp_path / 'cache_all').glob(f'{split}.tfrecord-*'))
    assert len(files) == num_shards


@pytest.mark.parametrize(
  ('task', 'shards', 'files'),
  [
    ('cache_files', None, 3),  # As many as the source has.
    ('cache_files', 2, 2),
    ('cache_files', 5, 5),
    ('cache_divisible', None, 1),
    ('cache_divisible', 3, 3),
    ('cache_texts', 9, 9),  # More than rows.
    ('cache_none_left', 2, 2),
    ('cache_unknown', 3, 3),
  ],
)
def test_shards_together_hold_each_row_once(run, tmp_path, task, shards, files):
  code, text = run(
    task, '--splits=train', *([f'--num_shards={shards}'] if shards else [])
  )
  assert code == 0, text
  assert len(list((tmp_path / task).glob('train.tfrecord-*'))) == files
  found = caches.read_rows(task, 'train', tmp_path)
  assert caches.sort_rows(found) == caches.sort_rows(
    caches.read_rows(task, 'train')
  )
  assert bool(found) == (task != 'cache_none_left')
