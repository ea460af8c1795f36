"""Rows of a task: which of them share an input, and which are refused."""

import random

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import answers
from tests.inference.choice_rows import draw, row


def test_rows_of_an_example_share_their_input():
  rows = [
    row(1, 0, [5], [7, 1]),
    row(0, 2, [5], [9, 1]),
    row(0, 0, [5], [7, 1]),
    row(0, 1, [6], [8, 1]),
  ]
  found = answers.collect('task', rows)
  # By example, and in the order in which its rows first need them.
  assert [list(x.inputs.ids) for x in found.choices] == [[5], [6], [5]]
  assert found.places == [(0, 0), (1, 0), (0, 1), (2, 0)]
  assert [x.tolist() for x in found.targets] == [[7, 1], [8, 1], [9, 1], [7, 1]]
  assert found.answers.example.tolist() == [0, 0, 0, 1]
  assert found.answers.choice.tolist() == [0, 1, 2, 0]


def test_rows_may_come_in_any_order():
  rows = draw()
  wanted = answers.collect('task', rows)
  random.Random(0).shuffle(rows)
  found = answers.collect('task', rows)
  assert found.places == wanted.places
  for one, other in zip(found.choices, wanted.choices, strict=True):
    np.testing.assert_array_equal(one.inputs.ids, other.inputs.ids)
    for target, same in zip(one.targets, other.targets, strict=True):
      np.testing.assert_array_equal(target, same)
  for name in ('example', 'choice', 'is_correct', 'weight'):
    np.testing.assert_array_equal(
      getattr(found.answers, name), getattr(wanted.answers, name)
    )


def test_rows_that_cannot_be_ranked_are_refused():
  with pytest.raises(UserError, match="'empty' has no rows"):
    answers.collect('empty', [])
  incomplete = row(0, 0, [2], [1])
  del incomplete['is_correct']
  with pytest.raises(UserError, match="'task' has no column 'is_correct'"):
    answers.collect('task', [incomplete])
  with pytest.raises(UserError, match=r'two rows with idx \(0, 0\)'):
    answers.collect('task', [row(0, 0, [2], [1])] * 2)
