"""Operations: the count of what is traced, and the fewest there can be."""

import gin
import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from moe_lite.models import decoding
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


def test_other_loops_count_as_often_as_they_run():
  def power(x, w):
    is_small = lambda x: x.max() < 9
    return jax.lax.while_loop(is_small, lambda x: x @ w, x)

  x, w = jnp.ones((4, 4)), jnp.ones((4, 4))
  assert flops.of_matmuls(power, x, w) == 2 * 4**3
  assert flops.of_matmuls(power, x, w, loops=5) == 5 * 2 * 4**3


def test_a_pallas_kernel_counts_once_for_each_point_of_its_grid():
  def kernel(x, w, out):
    out[...] = x[...] @ w[...]

  def multiply(x, w):
    block = pl.BlockSpec((8, 16), lambda i: (i, 0))
    return pl.pallas_call(
      kernel,
      out_shape=jax.ShapeDtypeStruct((32, 16), jnp.float32),
      grid=(4,),
      in_specs=[block, pl.BlockSpec((16, 16), lambda i: (0, 0))],
      out_specs=block,
    )(x, w)

  x, w = jnp.ones((32, 16)), jnp.ones((16, 16))
  assert flops.of_matmuls(multiply, x, w) == 2 * 32 * 16 * 16


@pytest.mark.parametrize('beams', [1, pytest.param(3, marks=pytest.mark.slow)])
def test_decoding_does_little_more_than_it_must(beams):
  """At XL, for 32 rows of 512 tokens, also where a search has many beams."""
  files = ('models/t5_1_1_xl', 'methods/mov', 'data/p3', 'runs/infer')
  entry = configuration.configure(gin_test.command(*files))
  configuration.bind({'TASK_FEATURE_LENGTHS': {'inputs': 512, 'targets': 32}})
  arguments = {**gin.get_bindings(entry), 'num_decodes': beams}
  if beams > 1:
    arguments['decode_fn'] = decoding.beam_search
  (program,) = programs.programs(entry, arguments, jax.devices()[:1])
  assert program.name == 'generate' and program.rows == 32

  def count(loops):
    return flops.of_matmuls(program.function, *program.arguments, loops=loops)

  assert 1.0 <= count(program.loops) / program.least_flops <= 1.1
  # Of a token alone, without what is computed once for an input.
  config = arguments['model'].module.config
  least = [flops.decoding(config, 512, n, beams) for n in (1, 33)]
  least_of_token = 32 * (least[1] - least[0]) / 32
  of_token = count(2) - count(1)
  print(f'{of_token / 1e12:.3f} TFLOP a token step of 32 rows')
  assert 1.0 <= of_token / least_of_token <= 1.1


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
    ('mov', 'full', 1.42),
    ('molora', 'minimal', 1.10),
  ],
)
def test_a_step_does_little_more_than_it_must(size, method, remat, most):
  found = ratio(size, method, NUM_EXPERTS=10, REMAT=remat)
  assert 1.0 <= found <= most


def test_full_fine_tuning_is_measured_by_its_own_least():
  assert 1.0 <= ratio('xl', 'full', REMAT='none') <= 1.01
