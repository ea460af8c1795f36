"""Padding to few shapes."""

import itertools

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import padding


def test_buckets_are_few_and_end_at_the_limit():
  sizes = {padding.bucket(n, 100) for n in range(1, 101)}
  assert sizes == {8, 16, 32, 64, 100}
  assert all(
    padding.bucket(n, m) >= n
    for n, m in itertools.product(range(1, 40), (40, 64, 1024))
  )


def test_few_examples_make_small_batches():
  shapes = padding.Shapes(32, 64, 8)
  sizes = {n: shapes.for_examples(n).batch_size for n in (1, 5, 16, 17, 32, 99)}
  assert sizes == {1: 1, 5: 8, 16: 16, 17: 32, 32: 32, 99: 32}
  split = padding.Shapes(24, 64, 8, parts=4)
  assert [split.for_examples(n).batch_size for n in (1, 12, 13)] == [12, 12, 24]


def test_padding_fills_rows_and_batch():
  padded = padding.pad([[5, 6], np.array([7])], batch_size=3, limit=16)
  assert padded.dtype == np.int32
  assert padded.tolist() == [[5, 6] + [0] * 6, [7] + [0] * 7, [0] * 8]


def test_inputs_keep_their_vectors():
  rows = [
    {'inputs': np.array([5, 6]), 'inputs_embedding': np.ones(3, np.float32)},
    {'inputs': np.array([7]), 'inputs_embedding': np.zeros(3, np.float32)},
  ]
  inputs = [padding.Input.of(row) for row in rows]
  batch = padding.pad_inputs(inputs, batch_size=3, limit=16)
  assert batch['encoder_input_tokens'][:, :2].tolist() == [
    [5, 6],
    [7, 0],
    [0] * 2,
  ]
  assert batch['inputs_embedding'].tolist() == [[1] * 3, [0] * 3, [0] * 3]
  with pytest.raises(ValueError, match='1 of 2 have'):
    padding.pad_inputs([inputs[0], padding.Input([7])], 2, 16)
  alone = padding.pad_inputs([padding.Input([7])], 2, 16)
  assert list(alone) == ['encoder_input_tokens']


def test_a_decoder_reads_its_targets_one_later():
  batch = padding.pad_targets([[5, 6, 1], [7, 1]], batch_size=2, limit=4)
  assert batch['decoder_target_tokens'].tolist() == [[5, 6, 1, 0], [7, 1, 0, 0]]
  assert batch['decoder_input_tokens'].tolist() == [[0, 5, 6, 1], [0, 7, 1, 0]]


def test_ids_beyond_the_limit_are_refused():
  with pytest.raises(ValueError):
    padding.pad([[5] * 9], batch_size=1, limit=8)


@pytest.mark.parametrize('lengths', [(0, 8), (8, 0), (-1, 8)])
def test_lengths_are_positive(lengths):
  with pytest.raises(UserError, match='TASK_FEATURE_LENGTHS'):
    padding.Shapes(2, *lengths)
