"""A task from prompts: what its rows are, and what is refused."""

import pytest
import seqio

from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from tasks import mini, prompted

NAME = 'prompted_test_task'
ROWS = NAME + catalog.SCORE_EVAL


@pytest.fixture
def add():
  """Registers a task of one example under a prompt, until the test ends."""

  def add(*examples, **options):
    prompted.add(
      catalog.TaskInfo(NAME, 'prompted_test', 'test', 'plain', None, False),
      lambda split: examples,
      splits=('train',),
      features=mini.FEATURES,
      **options,
    )

  yield add
  for name in (NAME, ROWS):
    if name in seqio.TaskRegistry.names():
      seqio.TaskRegistry.remove(name)


def read(name):
  source = seqio.TaskRegistry.get(name).source
  return list(source.get_dataset('train', shuffle=False).as_numpy_iterator())


@pytest.mark.parametrize(
  'target, choices',
  [
    ('rome', ['paris ', 'rome ']),
    (' rome', ['paris', 'rome']),
    ('rome\n', ['\nparis', '\trome']),
  ],
)
def test_white_space_around_an_answer_is_no_part_of_it(add, target, choices):
  """As in T0, whose templates strip answers and whose evaluator the target."""
  add(prompted.Example('what is it ?', target, choices))
  rows = read(ROWS)
  assert [row['targets'] for row in rows] == [b'paris', b'rome']
  assert [bool(row['is_correct']) for row in rows] == [False, True]
  (row,) = read(NAME)
  assert row['targets'] == b'rome'
  assert row['answer_choices'].tolist() == [b'paris', b'rome']


def test_white_space_around_free_text_is_no_part_of_it(add):
  add(prompted.Example(' say it', ' red green\n'), ranked=False)
  (row,) = read(NAME)
  assert row['targets'] == b'red green' and row['inputs'] == b' say it'


def test_a_target_that_is_not_a_choice_is_refused(add):
  add(prompted.Example('what is it ?', 'oslo', ['paris', 'rome']))
  with pytest.raises(UserError, match="'oslo' is not among.*paris"):
    read(ROWS)


@pytest.mark.parametrize(
  'example, what',
  [
    (prompted.Example('which ?', 3, ['3', '4']), 'its target is 3'),
    (prompted.Example('which ?', '3', ['3', None]), 'its choice 1 is None'),
  ],
)
def test_what_is_not_text_is_refused(add, example, what):
  add(example)
  with pytest.raises(UserError, match=f'example 0: {what}'):
    read(NAME)
