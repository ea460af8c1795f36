"""Variants and choices of a grid, and grids that are mistaken."""

import pytest

from moe_lite.core.errors import UserError
from moe_lite.sweep.expansion import expand
from moe_lite.sweep.grid import choices, folder_name, variants
from tests.sweep.grids import grid

MOV = ['methods/mov.gin', {'NUM_EXPERTS': 10}]


def test_labels_and_values_name_variants():
  axes = {
    'method': {'MoV': 'methods/mov.gin', 'IA3': ['methods/ia3.gin', 'A = 1']},
    'NUM_EXPERTS': [2, 5],
  }
  found = variants(grid(axes=axes))
  assert [x.name for x in found] == [
    'frozen base',
    'MoV, NUM_EXPERTS=2',
    'MoV, NUM_EXPERTS=5',
    'IA3, NUM_EXPERTS=2',
    'IA3, NUM_EXPERTS=5',
  ]
  assert found[-1].files == ('methods/ia3.gin',)
  assert found[-1].bindings == {'A': '1', 'NUM_EXPERTS': '5'}
  assert [x.is_trained for x in found] == [False, *[True] * 4]


def test_every_combination_of_values_is_a_choice():
  found = choices(grid(search={'RATE': [1, 2], 'DECAY': [0.5]}))
  assert [x.name for x in found] == ['RATE=1,DECAY=0.5', 'RATE=2,DECAY=0.5']
  assert found[1].values == {'RATE': 2, 'DECAY': 0.5}
  (only,) = choices(grid(search={}))
  assert (only.name, only.values) == ('', {})


def test_folders_have_plain_names():
  assert folder_name('MoV, NUM_EXPERTS=10') == 'MoV_NUM_EXPERTS=10'
  assert folder_name("('a', 1.5)") == 'a_1.5'


MISTAKES = {
  'no axes': ({'axes': {}}, 'axes is empty'),
  'an axis of one value': ({'axes': {'RANK': 4}}, "Axis 'RANK' is 4"),
  'words': ({'axes': {'m': {'a': 'mov'}}}, "'mov' is neither a gin file nor"),
  'a function': ({'train': {'OPTIMIZER': print}}, 'is not a plain value'),
  'one folder': (
    {'axes': {'m': {'a b': MOV, 'a, b': MOV}}},
    "'a b' and 'a, b', would share one folder",
  ),
  'a taken macro': ({'axes': {'SEED': [1, 2]}}, 'An axis binds SEED'),
  'a searched axis': (
    {'axes': {'LEARNING_RATE': [0.1]}},
    'An axis binds LEARNING_RATE',
  ),
  'no seeds': ({'seeds': []}, r'SEEDS = \[\]'),
  'a seed twice': ({'seeds': [1, 1]}, 'has a seed twice'),
  'no list to search': ({'search': {'LEARNING_RATE': 0.1}}, 'must be a dict'),
  'no validation': ({'validate': []}, 'nothing says how to choose'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistaken_grid_is_a_user_error(mistake):
  changes, message = MISTAKES[mistake]
  with pytest.raises(UserError, match=message):
    expand(grid(**changes), 'runs/sweeps/x/')
