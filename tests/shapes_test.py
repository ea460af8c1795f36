"""Padding to few shapes."""

import itertools

import numpy as np
import pytest

from moe_lite import shapes


def test_buckets_are_few_and_end_at_the_limit():
  sizes = {shapes.bucket(n, 100) for n in range(1, 101)}
  assert sizes == {8, 16, 32, 64, 100}
  assert all(
    shapes.bucket(n, m) >= n
    for n, m in itertools.product(range(1, 40), (40, 64, 1024))
  )


def test_padding_fills_rows_and_batch():
  padded = shapes.pad([[5, 6], np.array([7])], batch_size=3, limit=16)
  assert padded.dtype == np.int32
  assert padded.tolist() == [[5, 6] + [0] * 6, [7] + [0] * 7, [0] * 8]


def test_ids_beyond_the_limit_are_refused():
  with pytest.raises(ValueError):
    shapes.pad([[5] * 9], batch_size=1, limit=8)
