"""Operations: the count of what is traced, and the fewest there can be."""

import gin
import jax
import jax.numpy as jnp
import pytest

from moe_lite.preflight import configuration, flops, programs
from tests import gin_test

SIZES = {'large': 2.276e12, 'xl': 7.837e12, 'xxl': 29.59e12}
LENGTHS = {'inputs': 1024, 'targets': 256}


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


def train_step(size, method, **macros):
  """A training step of one row on one device, never compiled."""
  files = (f'models/t5_1_1_{size}', f'methods/{method}', 'recipes/adapters')
  entry = configuration.configure(gin_test.command(*files))
  configuration.bind({'BATCH_SIZE': 1, **macros})
  arguments = gin.get_bindings(entry)
  (program,) = programs.programs(entry, arguments, jax.devices()[:1])
  return program


def ratio(*args, **macros):
  program = train_step(*args, **macros)
  counted = flops.of_matmuls(program.function, *program.arguments)
  return counted / program.least_flops


def test_scans_and_conditions_count_as_often_as_they_run():
  def function(x, w):
    x = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0]
    jnp.linalg.norm(x @ w[0])  # Used by nobody.
    return jax.lax.cond(x.sum() > 0, lambda x: x @ w[0], lambda x: x, x)

  x, w = jnp.ones((2, 4)), jnp.ones((3, 4, 4))
  assert flops.of_matmuls(function, x, w) == (3 + 1) * 2 * 2 * 4 * 4
  grad = jax.grad(lambda x: function(x, w).sum())
  # The value of the last product is needed by nobody, its gradient is.
  assert flops.of_matmuls(grad, x) == (3 + 3 + 1) * 2 * 2 * 4 * 4


@pytest.mark.parametrize('size', SIZES)
def test_the_least_for_a_row_of_the_papers_lengths(size):
  program = train_step(size, 'ia3')
  assert program.least_flops == pytest.approx(SIZES[size], rel=1e-3)


@pytest.mark.parametrize(
  'size', ['xl', pytest.param('xxl', marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
  'method, remat, most',
  [
    ('mov', 'minimal', 1.03),
    ('mov', 'full', 1.41),
    ('molora', 'minimal', 1.10),
  ],
)
def test_a_step_does_little_more_than_it_must(size, method, remat, most):
  found = ratio(size, method, NUM_EXPERTS=10, REMAT=remat)
  assert 1.0 <= found <= most


def test_full_fine_tuning_is_measured_by_its_own_least():
  assert 1.0 <= ratio('xl', 'full', REMAT='none') <= 1.01
