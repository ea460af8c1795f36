"""Averaged pairs: whatever the weights' shape, matrices are averaged first."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from moe_lite import routing
from moe_lite.adapters.averaged import averaged_update
from moe_lite.core.errors import UserError
from tests.adapters.mixing import draw, golden, molora, update

B, L, E, IN, R, OUT = 2, 3, 4, 8, 3, 6
SCALE = 0.7
SHAPES = {
  'a decision of a row': (B, 1, E),
  'of each token': (B, L, E),
  'of a row, two splits': (B, 1, 2, E),
  'of each token, two splits': (B, L, 2, E),
}
every_shape = pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)


def weights(shape):
  return np.float32(scipy.special.softmax(2 * draw(*shape, seed=3), -1))


def pairs():
  return draw(E, IN, R, seed=1), draw(E, R, OUT, seed=2)


def naive(x, a, b, p):
  """Makes the two matrices of every token, in float64."""
  p = p if p.ndim == 4 else p[:, :, None]
  p = np.broadcast_to(p, (*x.shape[:2], *p.shape[2:])).astype(np.float64)
  of_a, of_b = IN // p.shape[2], OUT // p.shape[2]
  y = np.zeros((*x.shape[:2], OUT))
  for i in np.ndindex(*x.shape[:2]):
    # Part s of the inputs' and the outputs' features is weighted by split s.
    down = np.einsum('ie,eir->ir', p[i].repeat(of_a, 0), a)
    up = np.einsum('oe,ero->ro', p[i].repeat(of_b, 0), b)
    y[i] = SCALE * x[i] @ down @ up
  return y


@every_shape
def test_the_update_is_that_of_the_averaged_matrices(shape):
  x, (a, b), p = draw(B, L, IN), pairs(), weights(shape)
  got = averaged_update(x, a, b, p, SCALE)
  want = naive(x, a, b, p)
  assert np.abs(want).max() > 1
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_all_forms_have_the_gradients_of_the_form_for_rows():
  x, (a, b), p = draw(B, L, IN), pairs(), weights((B, 1, E))
  of_splits = lambda p: jnp.repeat(p[:, :, None], 2, axis=2)
  of_tokens = lambda p: jnp.repeat(p, L, axis=1)

  def gradients(form):
    loss = lambda x, a, b, p: (
      averaged_update(x, a, b, form(p), SCALE) ** 2
    ).sum()
    return jax.jit(jax.grad(loss, (0, 1, 2, 3)))(x, a, b, p)

  want = gradients(lambda p: p)
  assert all(np.abs(x).max() > 1 for x in want)
  for form in (of_tokens, of_splits, lambda p: of_splits(of_tokens(p))):
    for got, wanted in zip(gradients(form), want, strict=True):
      np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@every_shape
def test_activations_keep_their_type(shape):
  x, (a, b), p = draw(B, L, IN), pairs(), weights(shape)
  got = averaged_update(jnp.bfloat16(x), a, b, p, SCALE)
  assert got.dtype == jnp.bfloat16 and got.shape == (B, L, OUT)
  want = naive(x, a, b, p)
  error = np.abs(np.float32(got) - want).max()
  assert error < 0.03 * np.abs(want).max()


def test_one_hot_weights_make_it_the_sum_of_products():
  x, (a, b) = draw(B, L, IN), pairs()
  p = np.eye(E, dtype=np.float32)[[[0, 3, 1], [2, 2, 0]]]
  products = np.einsum('bli,eir,ero->bleo', x, a, b)
  want = SCALE * np.einsum('ble,bleo->blo', p, products)
  got = averaged_update(x, a, b, p, SCALE)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
  # With other weights it is not.
  p = weights((B, L, E))
  sums = SCALE * np.einsum('ble,bleo->blo', p, products)
  assert np.abs(averaged_update(x, a, b, p, SCALE) - sums).max() > 0.1


@pytest.mark.parametrize('stack', ['encoder', 'decoder'])
def test_matrices_are_those_of_smear_s_released_code(stack):
  """Without its nonlinearity, which LoRA does not have."""
  of = golden('smear_layer')
  x, p = of[f'{stack}/x'], of[f'{stack}/probs'][:, None]
  down, up = (of[f'{stack}/averaged_{x}_kernel'] for x in ('down', 'up'))
  want = np.einsum('bli,bir,bro->blo', x, down, up)
  a, b = of['expert/down_kernel'], of['expert/up_kernel']
  got = averaged_update(x, a, b, p, 1.0)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('averages', [False, True])
def test_molora_averages_where_it_is_asked_to(averages):
  x, (a, b) = draw(B, L, IN), pairs()
  kernel = draw(IN, E, seed=4)
  got = update(
    x,
    a,
    b,
    routing.SoftRouter,
    {'kernel': kernel},
    scale=SCALE,
    averages=averages,
  )
  p = scipy.special.softmax(x @ kernel, -1)
  every = np.einsum('bli,eir,ero->bleo', x, a, b)
  sums = SCALE * np.einsum('ble,bleo->blo', p, every)
  want = naive(x, a, b, p) if averages else sums
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_sum_to_one_average_nothing():
  router = functools.partial(routing.TopKRouter, k=2, renormalize=False)
  with pytest.raises(UserError, match='TopKRouter do not sum to one'):
    molora(pairs()[0], router, averages=True)
