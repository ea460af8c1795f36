"""The mini suite: its rows, its twins, and what keeps it honest."""

import collections
import time

import numpy as np
import pytest
import seqio

from moe_lite.data import catalog
from tasks.mini import (
  prompts as mini_prompts,
)
from tasks.mini import (
  suite,
  world,
)
from tasks.mini import (
  vocabulary as mini_vocabulary,
)
from tasks.mini.text import Writer

LENGTHS = {'inputs': 128, 'targets': 32}
HELD_OUT = {s.name for s in mini_prompts.HELD_OUT}


def _read(name, split='validation', take=None):
  data = seqio.get_mixture_or_task(name).get_dataset(
    LENGTHS, split=split, shuffle=False, num_epochs=1, try_in_mem_cache=False
  )
  return list(data.take(take or -1).as_numpy_iterator())


def _asked(data_set, split):
  rows = data_set.draw(split, suite.ROWS[split])
  return {subject for row in rows for subject in row.asked}


def test_suite_is_large_enough():
  training, held_out = mini_prompts.TRAINING, mini_prompts.HELD_OUT
  assert len(training) >= 8
  assert len({s.cluster for s in training}) >= 5
  assert len({s.cluster for s in held_out}) == len(held_out) == 4
  assert all(len(s.templates) >= 3 for s in mini_prompts.DATA_SETS)
  assert not {s.cluster for s in training} & {s.cluster for s in held_out}


def test_training_never_sees_what_is_held_out():
  """Neither a held-out pair nor its subject and object in one prompt."""
  pairs = [p for ps in world.HELD_OUT.values() for p in ps]
  trained = {p for ps in world.TRAINED.values() for p in ps}
  assert not trained & set(pairs)
  for data_set in mini_prompts.TRAINING:
    for row in data_set.draw('train', suite.ROWS['train']):
      template = next(iter(data_set.templates.values()))
      text = ' '.join([template.prompt(row), *row.choices]).lower()
      words = set(''.join(c if c.isalpha() else ' ' for c in text).split())
      for a, b in pairs:
        assert not {*a.split(), *b.split()} <= words, (text, a, b)


def test_held_out_prompts_are_worded_differently():
  trained = {
    t.text for s in mini_prompts.TRAINING for t in s.templates.values()
  }
  held = {t.text for s in mini_prompts.HELD_OUT for t in s.templates.values()}
  assert not trained & held


@pytest.mark.parametrize(
  'data_set', mini_prompts.DATA_SETS, ids=lambda s: s.name
)
def test_rows_are_deterministic_and_balanced(data_set):
  rows = data_set.draw('train', 1000)
  assert rows == data_set.draw('train', 1000)
  assert rows != data_set.draw('validation', 1000)
  positions = collections.Counter(row.answer for row in rows)
  expected = len(rows) / data_set.num_choices
  assert len(positions) == data_set.num_choices
  assert all(abs(n - expected) < 0.2 * len(rows) for n in positions.values())
  # No answer is right more often than it is on offer by more than chance.
  offered, right = collections.Counter(), collections.Counter()
  for row in rows:
    offered.update(row.choices)
    right[row.choices[row.answer]] += 1
  for choice, count in offered.items():
    share = right[choice] / count
    noise = 4.5 * (0.25 / count) ** 0.5
    if data_set.name != 'odd':  # A word is odd whenever it stands alone.
      assert abs(share - 1 / data_set.num_choices) < noise, choice


@pytest.mark.parametrize(
  'data_set', mini_prompts.TRAINING, ids=lambda s: s.name
)
def test_validation_asks_about_new_subjects(data_set):
  asked = [_asked(data_set, split) for split in ('train', 'validation')]
  assert all(asked)
  assert not asked[0] & asked[1]


def test_base_task_has_p3s_features():
  (row,) = _read('mini_kinds_what_kind', take=1)
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
  examples = _read('mini_riddles_guess')
  rows = _read('mini_riddles_guess_score_eval')
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
  assert suite.rate(mini_prompts.TRAINING[0]) == suite.ROWS['train']


def test_catalog_knows_chance_and_twins():
  info = catalog.lookup('mini_kinds_choose_score_eval')
  assert info == catalog.lookup('mini_kinds_choose')
  assert (info.dataset, info.chance) == ('mini_kinds', 25.0)
  assert catalog.lookup('unheard_of') is None
  with pytest.raises(ValueError, match='already'):
    catalog.add(
      catalog.TaskInfo('mini_kinds_choose', 'x', 'x', 'x', None, False)
    )


def test_every_word_is_one_piece_of_the_vocabulary():
  vocabulary = mini_vocabulary.vocabulary()
  words = mini_vocabulary.words()
  assert all(len(vocabulary.encode(word)) == 1 for word in words)
  # Folding case, and spelling what the world has no word for.
  assert vocabulary.encode('The Dog') == vocabulary.encode('the dog')
  assert 2 not in vocabulary.encode('zanzibar (1999)')


def test_base_has_read_every_word_of_the_prompts():
  raw = set(mini_vocabulary.text_words(Writer(2).passages(20_000)))
  prompts = set(mini_vocabulary.text_words(mini_vocabulary.prompts(200)))
  assert not prompts - raw


def test_spans_are_corrupted_as_t5_does():
  (row, *_) = _read('mini_pretrain_span_corruption', take=4)
  size = suite.VOCABULARY.vocab_size
  first = size - mini_vocabulary.EXTRA_IDS
  inputs = [i for i in row['inputs'] if i >= first]
  targets = [i for i in row['targets'] if i >= first]
  assert targets == list(range(size - 1, size - 1 - len(targets), -1))
  # A passage that ends visibly ends its targets with one sentinel more.
  assert inputs in (targets, targets[:-1])
  assert row['targets'][0] == size - 1 and row['targets'][-1] == 1
  # Filling the spans gives the passage back.
  filled, spans = [], {}
  for i in row['targets'][:-1]:
    spans.setdefault(i, []) if i >= first else spans[[*spans][-1]].append(i)
  for i in row['inputs']:
    filled += spans[i] if i >= first else [i]
  passage = next(Writer(1).passages(1))
  assert filled == suite.VOCABULARY.encode(passage)


def test_generation_is_fast():
  start = time.process_time()
  for data_set in mini_prompts.DATA_SETS:
    data_set.draw('train', suite.ROWS['train'])
  collections.deque(Writer(0).passages(20_000), maxlen=0)
  assert time.process_time() - start < 15  # Measured: about 2 s.
