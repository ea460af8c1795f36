"""A loaded model: what it compiles, and which batches its mesh can split."""

import numpy as np
import pytest

from moe_lite.checkpoints.description import BaseInfo
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.inference.facts import Facts
from moe_lite.inference.trained import Trained
from tests import tiny_run

FACTS = Facts('base', None, BaseInfo('x', 'y'), {}, 0, 1, None)


@pytest.fixture
def trained():
  mesh = partitioning.make_mesh(None)
  return Trained(tiny_run.model(), {'scale': 3.0}, mesh, FACTS)


def test_a_compiled_function_has_the_parameters(trained):
  traces = []

  def function(params, batch, number):
    traces.append(batch['x'].shape)
    return params['scale'] * batch['x'] + number

  compiled = trained.compile(function)
  for rows in (2, 4, 2):
    batch = {'x': np.ones((rows, 3), np.float32)}
    found = compiled(batch, np.float32(0.5))
    np.testing.assert_array_equal(found, np.full((rows, 3), 3.5))
  # Once for each shape.
  assert traces == [(2, 3), (4, 3)]


def test_a_result_may_stay_where_it_was_made(trained):
  split = trained.compile(lambda params, x: x, gather=False)
  found = split(np.ones((2, 3), np.float32))
  wanted = partitioning.batch_sharding(trained.mesh)
  assert found.sharding.is_equivalent_to(wanted, found.ndim)


def test_a_batch_must_be_split_over_the_mesh(trained):
  trained.check_batch(3)
  for size in (0, -2):
    with pytest.raises(UserError, match=f'BATCH_SIZE = {size} must be a posi'):
      trained.check_batch(size)
