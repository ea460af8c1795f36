"""Shapes of trees: in JSON, and in what they differ."""

import numpy as np
import pytest

from moe_lite.checkpoints.leaf_shapes import check_fits, difference, shapes
from moe_lite.core.errors import UserError
from tests.checkpoints.run_trees import PATHS, tree

KEY = 'encoder/layers_0/attention/key_adapter/scale'


def test_nested_and_flat_trees_have_the_same_shapes():
  assert shapes(tree())[KEY] == [[2, 3], 'float32']
  assert shapes({KEY: np.ones((2, 3), np.int8)}) == {KEY: [[2, 3], 'int8']}


@pytest.mark.parametrize(
  'change, says',
  [
    ({KEY: (5, 3)}, f'{KEY} is [2, 3] in the checkpoint, now [5, 3].'),
    ({f'{KEY}s': (2,)}, f"{KEY}s is not in the checkpoint. Did you mean '"),
  ],
)
def test_a_difference_is_named(change, says):
  found = difference(shapes(tree()), shapes(tree(paths={**PATHS, **change})))
  assert says in found and 'NUM_EXPERTS' in found


def test_equal_trees_do_not_differ_whatever_their_types():
  others = {path: [shape, 'x'] for path, (shape, _) in shapes(tree()).items()}
  assert difference(shapes(tree()), others) == ''
  check_fits(tree(), tree(2.0), 'run')


def test_many_differences_are_cut_short():
  others = {f'a/{i}': (1,) for i in range(9)}
  found = difference(shapes(tree()), shapes(tree(paths={**PATHS, **others})))
  assert '... and 5 more leaves.' in found
  with pytest.raises(UserError, match='The run r holds another method'):
    check_fits(tree(), tree(paths={**PATHS, **others}), 'r')
