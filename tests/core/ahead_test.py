"""Work that is prepared ahead."""

import threading

import pytest

from moe_lite.core import ahead


def test_the_next_item_alone_is_prepared_meanwhile():
  begun, two = [], threading.Event()

  def prepare(item):
    begun.append(item)
    if item == 2:
      two.set()
    return 10 * item

  found = []
  for item, made in ahead.prepared([1, 2, 3, 4], prepare):
    if item == 1:
      assert two.wait(10)
    found.append((item, made))
    # One is prepared, and one may have been begun when the other was taken.
    assert len(begun) <= len(found) + 1
  assert found == [(1, 10), (2, 20), (3, 30), (4, 40)]
  assert list(ahead.prepared([], prepare)) == []


def test_an_error_comes_in_its_turn():
  def prepare(item):
    if item == 2:
      raise ValueError('two')
    return item

  found = []
  with pytest.raises(ValueError, match='two'):
    for item, _ in ahead.prepared([1, 2, 3], prepare):
      found.append(item)
  assert found == [1]
