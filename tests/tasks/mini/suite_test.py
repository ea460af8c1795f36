"""The mini suite: its rows, its twins and its mixtures."""

import collections

import numpy as np
import pytest
import seqio

from moe_lite.data import catalog
from tasks.mini import suite
from tasks.mini.data_sets import TRAINING
from tests.tasks.reading import read_rows


def test_base_task_has_p3s_features():
  (row,) = read_rows('mini_kinds_what_kind', take=1)
  assert set(row) == {
    'inputs',
    'inputs_pretokenized',
    'targets',
    'targets_pretokenized',
    'answer_choices',
  }
  assert row['inputs'].dtype == row['targets'].dtype == np.int32
  assert row['targets'][-1] == 1 and 1 not in row['inputs']
  assert row['targets_pretokenized'] in row['answer_choices']


def test_twin_has_one_row_per_choice():
  examples = read_rows('mini_riddles_guess')
  rows = read_rows('mini_riddles_guess_score_eval')
  assert set(rows[0]) == {
    'idx',
    'inputs',
    'inputs_pretokenized',
    'targets',
    'targets_pretokenized',
    'is_correct',
    'weight',
  }
  assert rows[0]['idx'].dtype == np.int32 and rows[0]['idx'].shape == (2,)
  assert rows[0]['is_correct'].dtype == bool
  assert rows[0]['weight'].dtype == np.float32
  grouped = collections.defaultdict(list)
  for row in rows:
    grouped[row['idx'][0]].append(row)
  assert len(grouped) == len(examples) == suite.ROWS['validation']
  for i, example in enumerate(examples):
    group = grouped[i]
    assert [r['idx'][1] for r in group] == list(range(len(group)))
    choices = [r['targets_pretokenized'] for r in group]
    assert choices == list(example['answer_choices'])
    (right,) = [r for r in group if r['is_correct']]
    assert right['targets_pretokenized'] == example['targets_pretokenized']
    np.testing.assert_array_equal(right['targets'], example['targets'])
    np.testing.assert_array_equal(right['inputs'], example['inputs'])


def test_mixtures_hold_the_right_tasks():
  mixture = seqio.get_mixture_or_task
  infos = {t.name: t for t in suite.TASKS}
  train = {t.name for t in mixture('mini_train').tasks}
  held_out = {t.name for t in mixture('mini_eval_score_eval').tasks}
  assert train == {n for n, i in infos.items() if not i.held_out}
  assert held_out == {
    n + catalog.SCORE_EVAL for n, i in infos.items() if i.held_out
  }
  assert {t.name for t in mixture('mini_train_score_eval').tasks} == {
    n + catalog.SCORE_EVAL for n in train
  }
  names = [t.name for t in mixture('mini_train_one_score_eval').tasks]
  one = [infos[x.removesuffix(catalog.SCORE_EVAL)] for x in names]
  assert len({info.dataset for info in one}) == len(one) == 14
  assert not any(info.held_out for info in one)
  assert suite.rate(TRAINING[0]) == suite.ROWS['train']


def test_catalog_knows_chance_and_twins():
  info = catalog.lookup('mini_kinds_choose_score_eval')
  assert info == catalog.lookup('mini_kinds_choose')
  assert (info.dataset, info.chance) == ('mini_kinds', 25.0)
  assert catalog.lookup('unheard_of') is None
  with pytest.raises(ValueError, match='already'):
    catalog.add(
      catalog.TaskInfo('mini_kinds_choose', 'x', 'x', 'x', None, False)
    )


def test_every_data_set_is_a_mixture():
  infos = [info for info in catalog.tasks() if info.name.startswith('mini_')]
  for name in {info.dataset for info in infos}:
    for suffix in ('', catalog.SCORE_EVAL):
      mixture = seqio.MixtureRegistry.get(name + suffix)
      assert {task.name for task in mixture.tasks} == {
        info.name + suffix for info in infos if info.dataset == name
      }
