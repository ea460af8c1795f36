"""Losses: cross entropy as T5X computes it, with its weights."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array

NORMALIZING_FACTORS = (
  'NUM_REAL_TARGET_TOKENS',
  'NUM_TOTAL_TARGET_TOKENS',
  'AVERAGE_PER_SEQUENCE',
)


def cross_entropy(
  logits: Array,
  targets: Array,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
  """Cross entropy of each token.

  Args:
    logits: [..., V].
    targets: ids, [...].
    z_loss: coefficient of `log(Z)**2`, which keeps logits from drifting.
    label_smoothing: probability spread over the other V - 1 ids; the smoothed
      targets' own entropy is subtracted, so that zero stays the best value.

  Returns:
    The loss [...], z-loss included, and the z-loss [...], in nats, float32.

  Source: T5X's `compute_weighted_cross_entropy`, before weights and sums.
  """
  logits = logits.astype(jnp.float32)
  vocab_size = logits.shape[-1]
  log_z = jax.nn.logsumexp(logits, axis=-1)
  # A masked sum instead of a gather: it fuses, and the vocabulary may be split
  # over chips.
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  is_target = ids == targets[..., None]
  target_logits = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
  loss = log_z - target_logits
  if label_smoothing:
    high = 1.0 - label_smoothing
    low = label_smoothing / (vocab_size - 1)
    all_losses = vocab_size * log_z - jnp.sum(logits, axis=-1)
    loss = (high - low) * loss + low * all_losses
    entropy = high * math.log(high) + (vocab_size - 1) * low * math.log(low)
    loss = loss + entropy
  z_losses = z_loss * jnp.square(log_z)
  return loss + z_losses, z_losses


def check_normalizing_factor(factor: str | float | None) -> None:
  """Raises UserError unless `normalization` knows the factor."""
  if isinstance(factor, str) and factor not in NORMALIZING_FACTORS:
    raise UserError(
      f'LOSS_NORMALIZING_FACTOR = {factor!r} must be a number, None, or one of '
      f'{NORMALIZING_FACTORS}.'
    )


def normalization(
  batch: Mapping[str, Array], factor: str | float | None
) -> tuple[Array, Array]:
  """Weights of target tokens, and what their weighted loss is divided by.

  Args:
    batch: `decoder_target_tokens` [B, T]; `decoder_loss_weights` [B, T] or
      all tokens alike; `decoder_segment_ids` [B, T] if packed.
    factor: NUM_REAL_TARGET_TOKENS, NUM_TOTAL_TARGET_TOKENS (padding counts),
      AVERAGE_PER_SEQUENCE (every sequence weighs the same, whatever its
      length), a number, or None for 1.

  Returns:
    Weights [B, T] and a scalar.

  Source: T5X's `get_loss_normalizing_factor_and_weights`.
  """
  targets = batch['decoder_target_tokens']
  weights = batch.get('decoder_loss_weights')
  if weights is None:
    weights = targets > 0
  weights = weights.astype(jnp.float32)
  if factor == 'NUM_REAL_TARGET_TOKENS':
    return weights, weights.sum()
  if factor == 'NUM_TOTAL_TARGET_TOKENS':
    return weights, jnp.float32(targets.size)
  if factor == 'AVERAGE_PER_SEQUENCE':
    segments = batch.get('decoder_segment_ids')
    if segments is None:
      totals = weights.sum(-1, keepdims=True)
    else:
      same = segments[:, :, None] == segments[:, None, :]
      totals = jnp.einsum('bts,bs->bt', same.astype(jnp.float32), weights)
    weights = jnp.where(totals > 0, weights / jnp.maximum(totals, 1e-9), 0.0)
    return weights, weights.sum()
  return weights, jnp.float32(1.0 if factor is None else factor)
