"""Arrays on disk: read one at a time, small ones ahead of their use."""

import threading

import numpy as np
import pytest

from moe_lite.checkpoints import lazy_arrays
from moe_lite.core import parameters
from moe_lite.core.errors import UserError


def test_small_arrays_are_read_ahead_and_large_ones_are_not():
  sizes = {'a': 9, 'b': 9, 'c': 3, 'd': 3, 'e': 3}
  begun = {name: threading.Event() for name in sizes}
  used = set()

  def array(name):
    def read():
      begun[name].set()
      in_memory = [x for x in sizes if begun[x].is_set() and x not in used]
      assert sum(map(sizes.get, in_memory)) <= max(sizes.values())
      # The one behind it is begun before this one is there.
      assert name != 'c' or begun['d'].wait(timeout=20)
      return np.zeros(sizes[name], np.int8)

    return lazy_arrays.Stored((sizes[name],), np.dtype(np.int8), read)

  order = []
  arrays = {name: array(name) for name in sizes}
  for name, _ in lazy_arrays.read(arrays, sizes, bytes_ahead=8):
    order.append(name)
    used.add(name)
  assert order == list(sizes)


STACK = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
ARRAYS = {
  'encoder/layers/mlp/wo/kernel': lazy_arrays.held(STACK),
  'encoder/encoder_norm/scale': lazy_arrays.held(np.ones(3, np.float32)),
}


def test_stacks_are_read_layer_by_layer():
  found = lazy_arrays.read_all(ARRAYS)
  for i in range(3):
    layer = found[f'encoder/layers_{i}/mlp/wo/kernel']
    np.testing.assert_array_equal(layer, STACK[:, i])
  assert len(found) == 4
  shapes = lazy_arrays.unrolled(ARRAYS)
  assert {x: y.shape for x, y in shapes.items()} == {
    x: y.shape for x, y in found.items()
  }
  fingerprint = parameters.fingerprint(parameters.unflatten(found))
  assert lazy_arrays.fingerprint(ARRAYS) == fingerprint


def test_a_layer_of_a_stack_is_not_read_alone():
  layer = lazy_arrays.unrolled(ARRAYS)['encoder/layers_1/mlp/wo/kernel']
  with pytest.raises(AssertionError, match='with its stack'):
    layer.read()


def test_it_is_transposed_when_it_is_read():
  array = lazy_arrays.held(STACK[0]).T
  assert array.shape == (2, 3) and array.nbytes == 24
  np.testing.assert_array_equal(array.read(), STACK[0].T)


def test_a_failure_ends_the_reading():
  def fail():
    raise UserError('cut off')

  arrays = {**ARRAYS, 'a': lazy_arrays.Stored((2,), np.dtype('f4'), fail)}
  with pytest.raises(UserError, match='cut off'):
    lazy_arrays.read_all(arrays)
