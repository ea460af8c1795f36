"""The data sets of the mini suite, and what keeps them honest."""

import collections
import time

import pytest

from tasks.mini import suite, world
from tasks.mini.data_sets import DATA_SETS, HELD_OUT, TRAINING
from tasks.mini.text import Writer


def asked_by(data_set, split):
  rows = data_set.draw(split, suite.ROWS[split])
  return {subject for row in rows for subject in row.asked}


def test_suite_is_large_enough():
  training, held_out = TRAINING, HELD_OUT
  assert len(training) >= 8
  assert len({s.cluster for s in training}) >= 5
  assert len({s.cluster for s in held_out}) == len(held_out) == 4
  assert all(len(s.templates) >= 3 for s in DATA_SETS)
  assert not {s.cluster for s in training} & {s.cluster for s in held_out}


def test_training_never_sees_what_is_held_out():
  """Neither a held-out pair nor its subject and object in one prompt."""
  pairs = [p for ps in world.HELD_OUT.values() for p in ps]
  trained = {p for ps in world.TRAINED.values() for p in ps}
  assert not trained & set(pairs)
  for data_set in TRAINING:
    for row in data_set.draw('train', suite.ROWS['train']):
      template = next(iter(data_set.templates.values()))
      text = ' '.join([template.prompt(row), *row.choices]).lower()
      words = set(''.join(c if c.isalpha() else ' ' for c in text).split())
      for a, b in pairs:
        assert not {*a.split(), *b.split()} <= words, (text, a, b)


def test_held_out_prompts_are_worded_differently():
  trained = {t.text for s in TRAINING for t in s.templates.values()}
  held = {t.text for s in HELD_OUT for t in s.templates.values()}
  assert not trained & held


@pytest.mark.parametrize('data_set', DATA_SETS, ids=lambda s: s.name)
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


@pytest.mark.parametrize('data_set', TRAINING, ids=lambda s: s.name)
def test_validation_asks_about_new_subjects(data_set):
  asked = [asked_by(data_set, split) for split in ('train', 'validation')]
  assert all(asked)
  assert not asked[0] & asked[1]


def test_generation_is_fast():
  start = time.process_time()
  for data_set in DATA_SETS:
    data_set.draw('train', suite.ROWS['train'])
  collections.deque(Writer(0).passages(20_000), maxlen=0)
  assert time.process_time() - start < 15  # Measured: about 2 s.
