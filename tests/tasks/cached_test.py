"""What a cache says of its rows is true."""

import json
import shutil

import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from tests import mutating
from tests.tasks import caches

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


def test_info_and_stats_are_the_counted_numbers(run, tmp_path):
  assert run('cache_all', '--num_shards=3')[0] == 0
  seqio.set_global_cache_dirs([str(tmp_path)])
  task = seqio.TaskRegistry.get('cache_all').replace()
  for split in ('train', 'validation', 'none'):
    expected = {'examples': 0}
    for row in caches.read_rows('cache_all', split):
      expected['examples'] += 1
      for name in ('inputs', 'targets'):
        tokens = sum(i not in (0, 1) for i in row[name][1])
        total, most = f'{name}_tokens', f'{name}_max_tokens'
        expected[total] = expected.get(total, 0) + tokens
        expected[most] = max(expected.get(most, 0), tokens)
    assert task.get_cached_stats(split) == expected
    info = json.loads((tmp_path / f'cache_all/info.{split}.json').read_text())
    assert info['num_shards'] == 3
    assert info['features'] == {
      'inputs': {'shape': [None], 'dtype': 'int32'},
      'inputs_pretokenized': {'shape': [], 'dtype': 'string'},
      'targets': {'shape': [None], 'dtype': 'int32'},
      'targets_pretokenized': {'shape': [], 'dtype': 'string'},
      'idx': {'shape': [None], 'dtype': 'int32'},
      'is_correct': {'shape': [], 'dtype': 'bool'},
      'weight': {'shape': [], 'dtype': 'float32'},
      'raw': {'shape': [], 'dtype': 'string'},
      'grid': {'shape': [None, 3], 'dtype': 'int64'},
      'choices': {'shape': [None], 'dtype': 'string'},
      'spans': {'shape': [None, None], 'dtype': 'int32'},
      'marks': {'shape': [None, None], 'dtype': 'bool'},
    }


def test_a_damaged_cache_is_refused_or_reads_the_same(run, tmp_path):
  name, whole = 'cache_texts', tmp_path / 'whole'
  assert run(name, '--num_shards=2')[0] == 0
  shutil.copytree(tmp_path / name, whole)
  seqio.set_global_cache_dirs([str(tmp_path)])

  def read():
    task = seqio.TaskRegistry.get(name).replace()
    dataset.check_split(task, 'train', use_cached=True)
    rows = dataset.read(task, 'train', {'inputs': 64, 'targets': 64}, True)
    return repr(rows)

  expected, refused = read(), 0
  for seed in range(45):
    shutil.rmtree(tmp_path / name)
    shutil.copytree(whole, tmp_path / name)
    mutating.ALL[seed % len(mutating.ALL)](
      tmp_path / name, mutating.seeded(seed)
    )
    try:
      assert read() == expected, seed
    except UserError:
      refused += 1
  assert refused > 9
