"""The pair of a low rank is the nearest one, and its factors are balanced."""

import numpy as np
import pytest

from moe_lite.adapters import low_rank

RANDOM = np.random.default_rng(0)
WIDE, TALL = RANDOM.normal(size=(9, 4)), RANDOM.normal(size=(4, 13))


@pytest.mark.parametrize('shape', [(9, 13), (13, 9)])
@pytest.mark.parametrize('rank', [1, 3, 9])
def test_the_error_is_the_least_that_is_possible(shape, rank):
  matrix = np.random.default_rng(1).normal(size=shape)
  a, b = low_rank.split(matrix, rank)
  assert a.shape == (shape[0], rank) and b.shape == (rank, shape[1])
  values = np.linalg.svd(matrix, compute_uv=False)
  error = np.linalg.norm(matrix - a @ b)
  np.testing.assert_allclose(
    error, np.linalg.norm(values[rank:]), rtol=1e-9, atol=1e-9
  )


@pytest.mark.parametrize('rank', [1, 3, 4, 6])
def test_a_product_is_split_without_building_it(rank):
  from_factors = low_rank.split_product(WIDE, TALL, rank)
  from_matrix = low_rank.split(WIDE @ TALL, rank)
  np.testing.assert_allclose(
    from_factors[0] @ from_factors[1],
    from_matrix[0] @ from_matrix[1],
    atol=1e-12,
  )


def test_both_factors_carry_the_roots_of_the_singular_values():
  a, b = low_rank.split_product(WIDE, TALL, 3)
  values = np.linalg.svd(WIDE @ TALL, compute_uv=False)[:3]
  np.testing.assert_allclose(a.T @ a, np.diag(values), atol=1e-9)
  np.testing.assert_allclose(b @ b.T, np.diag(values), atol=1e-9)


def test_columns_beyond_the_dimensions_are_zero():
  a, b = low_rank.split(WIDE, 6)
  assert a.shape == (9, 6) and b.shape == (6, 4)
  assert not a[:, 4:].any() and not b[4:].any()
  np.testing.assert_allclose(a @ b, WIDE, atol=1e-12)


def test_a_matrix_of_zeros_has_factors_of_zeros():
  for factor in low_rank.split(np.zeros((5, 7), np.float32), 2):
    assert not factor.any()
