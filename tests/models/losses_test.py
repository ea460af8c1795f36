"""Losses against plain NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.models import losses

V = 11


@pytest.fixture
def logits():
  return np.random.default_rng(0).normal(size=(2, 3, V)).astype('f4') * 3


def log_softmax(x):
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy(logits, smoothing):
  targets = np.array([[1, 2, 3], [0, 10, 5]])
  soft = np.full((2, 3, V), smoothing / (V - 1))
  np.put_along_axis(soft, targets[..., None], 1 - smoothing, axis=-1)
  want = -(soft * log_softmax(logits)).sum(-1)
  if smoothing:
    want += (soft * np.log(soft)).sum(-1)
  log_z = np.log(np.exp(logits).sum(-1))
  total, z = losses.cross_entropy(logits, targets, 1e-2, smoothing)
  np.testing.assert_allclose(z, 1e-2 * log_z**2, rtol=1e-5)
  np.testing.assert_allclose(total - z, want, rtol=1e-4, atol=1e-5)


def batch(**changes):
  targets = jnp.asarray([[5, 6, 1, 7, 1, 0], [5, 1, 0, 0, 0, 0]])
  weights = (targets > 0).astype(jnp.int32)
  return {
    'decoder_target_tokens': targets,
    'decoder_loss_weights': weights,
    **changes,
  }


@pytest.mark.parametrize(
  ('factor', 'want'),
  [
    ('NUM_REAL_TARGET_TOKENS', 7),
    ('NUM_TOTAL_TARGET_TOKENS', 12),
    ('AVERAGE_PER_SEQUENCE', 2),
    (2048, 2048),
    (None, 1),
  ],
)
def test_normalizing_factors(factor, want):
  weights, normalizer = losses.normalization(batch(), factor)
  assert float(normalizer) == pytest.approx(want)
  if factor != 'AVERAGE_PER_SEQUENCE':
    np.testing.assert_array_equal(weights, batch()['decoder_loss_weights'])


def test_average_per_sequence_treats_packed_sequences_alike():
  segments = jnp.asarray([[1, 1, 1, 2, 2, 0], [1, 1, 0, 0, 0, 0]])
  weights, normalizer = losses.normalization(
    batch(decoder_segment_ids=segments), 'AVERAGE_PER_SEQUENCE'
  )
  assert float(normalizer) == pytest.approx(3)
  want = [[1 / 3] * 3 + [1 / 2] * 2 + [0], [1 / 2] * 2 + [0] * 4]
  np.testing.assert_allclose(weights, want, rtol=1e-6)
  # Nor is padding a sequence if somebody gave it a weight, as in T5X.
  weighty = batch(
    decoder_segment_ids=segments, decoder_loss_weights=jnp.ones((2, 6))
  )
  weights, normalizer = losses.normalization(weighty, 'AVERAGE_PER_SEQUENCE')
  assert float(normalizer) == pytest.approx(3)


def test_an_unknown_factor_lists_the_known():
  with pytest.raises(UserError, match='AVERAGE_PER_SEQUENCE'):
    losses.check_normalizing_factor('AVERAGE_PER_SEQENCE')
