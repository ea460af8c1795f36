"""Cross entropy as T5X computes it, and the weights of its tokens."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.features import DECODER_TARGETS, LOSS_WEIGHTS
from moe_lite.core.types import Array, Metrics

# The names that `normalization` knows.
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
  """Computes the cross entropy of each token.

  Args:
    logits: [..., V].
    targets: the ids of the targets, [...].
    z_loss: the coefficient of `log(Z)**2`, a loss that keeps logits from
      drifting.
    label_smoothing: the probability that is spread over the V - 1 other ids.
      The entropy of the smoothed targets is subtracted from the loss, so that
      its best value stays zero.

  Returns:
    The loss of each token, z-loss included, and its z-loss. Both are float32
    [...], in nats.

  Source: T5X's `compute_weighted_cross_entropy`, before weights and sums.
  """
  logits = logits.astype(jnp.float32)
  vocab_size = logits.shape[-1]
  log_z = jax.nn.logsumexp(logits, axis=-1)
  # This is a masked sum and not a gather. XLA fuses it, and it also works if
  # the vocabulary is split over chips.
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
  """Returns the weights of target tokens, and what their loss is divided by.

  Args:
    batch: has `decoder_target_tokens` [B, T]. If it has no
      `decoder_loss_weights` [B, T], all tokens have the weight 1. If it is
      packed, it also has `decoder_segment_ids` [B, T].
    factor: 'NUM_REAL_TARGET_TOKENS' divides by the sum of the weights.
      'NUM_TOTAL_TARGET_TOKENS' divides by the number of target positions,
      padding included. 'AVERAGE_PER_SEQUENCE' gives every sequence the same
      weight, whatever its length, and divides by the number of sequences. A
      number divides by itself, and None divides by 1.

  Returns:
    Float32 weights [B, T], and a scalar.

  Source: T5X's `get_loss_normalizing_factor_and_weights`.
  """
  targets = batch[DECODER_TARGETS]
  weights = batch.get(LOSS_WEIGHTS)
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
      # Padding is no sequence.
      same &= segments[:, None, :] > 0
      totals = jnp.einsum('bts,bs->bt', same.astype(jnp.float32), weights)
    weights = jnp.where(totals > 0, weights / jnp.maximum(totals, 1e-9), 0.0)
    return weights, weights.sum()
  return weights, jnp.float32(1.0 if factor is None else factor)


def weighted_sums(
  logits: Array,
  batch: Mapping[str, Array],
  factor: str | float | None,
  z_loss: float,
  label_smoothing: float,
) -> tuple[Metrics, Array]:
  """Sums the losses of a batch over its tokens.

  Args:
    logits: [B, T, V].
    batch: as in `normalization`.
    factor: as in `normalization`.
    z_loss: as in `cross_entropy`.
    label_smoothing: as in `cross_entropy`.

  Returns:
    Sums that add up over batches, and the number that `loss` is to be divided
    by. `loss` and `z_loss` are weighted sums over tokens, in nats; `loss`
    includes the z-loss. `weight_sum` is the sum of the weights. `tokens` counts
    the tokens with a weight, and `correct` those of them that have the highest
    logit.
  """
  targets = batch[DECODER_TARGETS]
  token_losses, z_losses = cross_entropy(
    logits, targets, z_loss, label_smoothing
  )
  weights, normalizer = normalization(batch, factor)
  is_token = weights > 0
  sums: Metrics = {
    'loss': jnp.sum(token_losses * weights),
    'z_loss': jnp.sum(z_losses * weights),
    'weight_sum': weights.sum(),
    'correct': jnp.sum((logits.argmax(-1) == targets) & is_token),
    'tokens': jnp.sum(is_token),
  }
  return sums, normalizer


def log_probability(logits: Array, batch: Mapping[str, Array]) -> Array:
  """Returns the log-probability of each row's target, float32 [B].

  Args:
    logits: [B, T, V].
    batch: as in `normalization`, which gives the weights of the tokens.
  """
  weights, _ = normalization(batch, None)
  token_losses, _ = cross_entropy(logits, batch[DECODER_TARGETS])
  return -jnp.sum(token_losses * weights, axis=-1)
