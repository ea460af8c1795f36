"""Attention in blocks is attention: values and gradients, everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.core import partitioning
from moe_lite.t5 import attention
from moe_lite.t5.attention import Visible

BATCH, HEADS, DIM = 3, 2, 8
# More than one block, with and without queries that fill the last one up.
LENGTHS = (pytest.param(512, marks=pytest.mark.slow), 600)
KEYS = 320


def segments(length, packed):
  """Rows that are full, padded at the end, and padding alone."""
  ids = np.ones((BATCH, length), np.int32)
  if packed:
    ids[:, length // 3 :] = 2
  ids[1, length // 2 :] = 0
  ids[2] = 0
  return jnp.asarray(ids)


def draw(seed, *shape, dtype='float32'):
  return jax.random.normal(jax.random.key(seed), shape).astype(dtype)


def arguments(situation, length, dtype='float32'):
  """What `attend` is given: q, k, v and what may see what."""
  packed = situation.startswith('packed')
  num_keys = KEYS if situation.endswith('cross') else length
  distances = None
  if not situation.endswith('cross'):
    distances = draw(0, HEADS, length + num_keys - 1, dtype=dtype)
  visible = Visible(
    segments(length, packed),
    segments(num_keys, packed),
    distances,
    causal=situation.endswith('causal'),
  )
  q = draw(1, BATCH, length, HEADS, DIM, dtype=dtype)
  k = draw(2, BATCH, num_keys, HEADS, DIM, dtype=dtype)
  v = draw(3, BATCH, num_keys, HEADS, DIM, dtype=dtype)
  return q, k, v, visible


def compute(form, q, k, v, visible, **more):
  """The result, and the gradients by q, k, v and the distances."""
  weights = draw(4, *q.shape)

  def loss(q, k, v, distances):
    seen = visible.replace(distances=distances)
    x = attention.attend(q, k, v, seen, form=form, **more)
    return jnp.sum(x.astype(jnp.float32) * weights), x

  by = (0, 1, 2) if visible.distances is None else (0, 1, 2, 3)
  gradient = jax.jit(jax.grad(loss, by, has_aux=True))
  gradients, x = gradient(q, k, v, visible.distances)
  return x, *gradients


SITUATIONS = (
  'all',
  'causal',
  'cross',
  'packed',
  'packed causal',
  'packed cross',
)


@pytest.mark.parametrize('length', LENGTHS)
@pytest.mark.parametrize('situation', SITUATIONS)
def test_blocks_are_as_plain(situation, length):
  given = arguments(situation, length)
  found, wanted = (compute(form, *given) for form in ('blocks', 'plain'))
  for x, y in zip(found, wanted, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-6 * np.abs(y).max(), rtol=1e-5)


def error(found, exact):
  return np.std(np.asarray(found, np.float32) - np.asarray(exact, np.float32))


@pytest.mark.parametrize('situation', SITUATIONS)
def test_blocks_in_bfloat16_are_as_near_as_plain(situation):
  given = arguments(situation, 512, 'bfloat16')
  exact = compute('plain', *jax.tree.map(as_float32, given))
  found, plain = (compute(form, *given) for form in ('blocks', 'plain'))
  for x, y, z in zip(found, plain, exact, strict=True):
    # The blocks' gradients by a key are added up in bfloat16.
    assert error(x, z) <= 1.05 * error(y, z)


def as_float32(x):
  x = jnp.asarray(x)
  return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x


def test_dropout_drops_the_same():
  given = arguments('packed', 512)
  kept = jax.random.bernoulli(jax.random.key(9), 0.7, (BATCH, HEADS, 1, 512))
  found, wanted = (
    compute(form, *given, kept=kept, keep_rate=0.7)
    for form in ('blocks', 'plain')
  )
  for x, y in zip(found, wanted, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-6 * np.abs(y).max(), rtol=1e-5)


def test_bias_is_by_distance():
  _, _, _, visible = arguments('all', 12)
  bias = np.asarray(visible.bias())
  assert bias.shape == (HEADS, 12, 12)
  for t in range(12):
    for s in range(12):
      np.testing.assert_array_equal(
        bias[:, t, s], visible.distances[:, s - t + 11]
      )


def test_a_decoding_step_sees_what_was_decoded():
  one = jnp.ones((1, 1), jnp.int32)
  visible = Visible(one, jnp.ones((1, 5), jnp.int32), first=2, causal=True)
  assert visible.mask().tolist() == [[[True, True, True, False, False]]]


@pytest.mark.parametrize(
  'form, rows, length, size',
  [
    ('auto', 1, 256, None),
    ('auto', 4, 1024, 256),
    ('auto', 8, 1024, 128),
    ('auto', 32, 4096, 64),
    ('blocks', 1, 256, 256),
    ('blocks', 1, 64, 64),
    ('blocks', 1, 1, None),
    ('plain', 32, 4096, None),
  ],
)
def test_size_of_blocks(form, rows, length, size, monkeypatch):
  monkeypatch.setattr(partitioning, 'platform', lambda: 'tpu')
  shape = (rows, length, 8, 64)
  assert attention.block_size(shape, length, 'bfloat16', form) == size


def test_on_a_cpu_only_huge_logits_are_cut():
  sizes = [
    attention.block_size((rows, 1024, 8, 64), 1024, 'bfloat16', 'auto')
    for rows in (64, 128)
  ]
  assert sizes == [None, 64]


def memory(form, length):
  shape = jax.ShapeDtypeStruct((4, length, 8, 16), jnp.float32)
  ids = jax.ShapeDtypeStruct((4, length), jnp.int32)
  distances = jax.ShapeDtypeStruct((8, 2 * length - 1), jnp.float32)

  def loss(q, k, v, ids, distances):
    visible = Visible(ids, ids, distances)
    return attention.attend(q, k, v, visible, form=form).sum()

  step = jax.jit(jax.grad(loss, (0, 1, 2)))
  made = step.lower(shape, shape, shape, ids, distances).compile()
  return made.memory_analysis().temp_size_in_bytes


def test_blocks_never_hold_all_logits():
  logits = 4 * 4 * 8 * 4096**2
  assert memory('plain', 4096) > logits
  assert memory('blocks', 4096) < logits / 2
