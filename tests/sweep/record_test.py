"""A folder belongs to one grid, which may grow."""

import json
import pathlib

import pytest

from moe_lite.core.errors import UserError
from moe_lite.sweep import record
from moe_lite.sweep.expansion import expand
from tests.sweep.grids import grid

TEXTS = {'MoV, LEARNING_RATE=0.1: train': 'STEPS = 4\nRATE = 0.1\n'}


@pytest.fixture
def claim(tmp_path):
  def claim(configurations=TEXTS, **changes):
    record.claim(expand(grid(**changes), str(tmp_path / 'x')), configurations)

  return claim


@pytest.fixture
def begin(tmp_path):
  """Makes the folder of a run, as its first command does."""

  def begin(run):
    pathlib.Path(tmp_path / 'x' / run).mkdir(parents=True)

  return begin


def test_every_run_and_its_commands_are_written_down(claim, tmp_path):
  claim()
  content = json.loads((tmp_path / 'x' / record.GRID).read_text())
  assert content['configurations'] == TEXTS
  runs = content['runs']
  assert list(runs)[:2] == ['frozen_base', 'IA3/LEARNING_RATE=0.1/seed_0']
  assert list(runs['frozen_base']) == ['validation', 'eval']
  assert list(runs['IA3/LEARNING_RATE=0.1/seed_0']) == [
    *('train', 'validation', 'eval'),
  ]


def test_seeds_choices_and_variants_may_be_added(claim, begin):
  claim()
  begin('MoV/LEARNING_RATE=0.1/seed_0')
  claim({**TEXTS, 'MoV, LEARNING_RATE=0.9: train': 'RATE = 0.9'})
  claim(seeds=[0, 1, 2])
  claim(search={'LEARNING_RATE': [0.1, 0.3, 0.9]})


def test_what_has_begun_keeps_its_configuration(claim, begin):
  claim()
  changed = {name: text.replace('4', '7') for name, text in TEXTS.items()}
  claim(changed)  # Nothing has begun.
  begin('MoV/LEARNING_RATE=0.1/seed_0')
  with pytest.raises(UserError, match=r'(?s)another grid.*- STEPS = 7') as info:
    claim()
  assert (
    '+ STEPS = 4' in str(info.value)
    and 'RATE' not in (str(info.value).partition(':\n')[2])
  )


def test_modules_may_have_moved_since_it_began(claim, begin):
  old, new, other = (
    {'MoV, LEARNING_RATE=0.1: train': text}
    for text in (
      'from moe_lite import decoding\nfrom moe_lite import t5\nRATE = 1',
      'from moe_lite import t5\nfrom moe_lite.models import decoding\nRATE = 1',
      'from mine import decoding\nfrom moe_lite import t5\nRATE = 1',
    )
  )
  claim(old)
  begin('MoV/LEARNING_RATE=0.1/seed_0')
  claim(new)
  with pytest.raises(UserError, match=r'\+ import mine.decoding'):
    claim(other)


def test_what_has_begun_stays_in_the_grid(claim, begin):
  claim()
  begin('MoV/LEARNING_RATE=0.1/seed_1')
  with pytest.raises(UserError, match='such as MoV/LEARNING_RATE=0.1/seed_1'):
    claim(seeds=[0])
