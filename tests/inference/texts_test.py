"""The forms in which callers give texts and choices, and what is refused."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import texts


def test_a_text_is_a_list_of_one():
  assert texts.several('a b') == ['a b']
  assert texts.several(x for x in ('a', 'b')) == ['a', 'b']


@pytest.mark.parametrize('given', [5, None])
def test_what_is_not_a_text_is_refused(given):
  with pytest.raises(UserError, match=f'names = {given} must be a text'):
    texts.several(given, 'names')


def test_no_text_at_all_is_refused():
  with pytest.raises(UserError, match='There are no choices'):
    texts.several([], 'choices')


def test_choices_are_those_of_all_inputs_or_of_each():
  assert texts.choices_of_each(['x', 'y'], 2, ['a', 'b']) == [['a', 'b']] * 2
  of_each = [['a'], ['b', 'c']]
  assert texts.choices_of_each(['x', 'y'], 2, of_each) == of_each
  assert texts.choices_of_each('x', 1, ['a']) == [['a']]


@pytest.mark.parametrize(
  'inputs, count, choices, message',
  [
    ('x', 1, 'yes', "choices = 'yes' must be a list"),
    ('x', 1, [1, 'a'], 'choices has 1, which is not a text'),
    ('x', 1, [['a']], '1 lists of choices for 1 inputs'),
    (['x'], 1, [['a'], ['b']], '2 lists of choices for 1 inputs'),
    (['x', 'y'], 2, ['a', ['b']], 'some are lists of texts'),
    (['x', 'y'], 2, [['a'], []], 'There are no choices'),
  ],
)
def test_other_choices_are_refused(inputs, count, choices, message):
  with pytest.raises(UserError, match=message):
    texts.choices_of_each(inputs, count, choices)
