"""Our losses under the names and signatures of `t5x.losses`."""

import enum

from moe_lite.models import losses as ours

SpecialLossNormalizingFactor = enum.Enum(
  'SpecialLossNormalizingFactor', ours.NORMALIZING_FACTORS
)


def compute_weighted_cross_entropy(
  logits,
  targets,
  weights,
  label_smoothing=0.0,
  z_loss=0.0,
  loss_normalizing_factor=None,
):
  batch = {'decoder_target_tokens': targets, 'decoder_loss_weights': weights}
  sums, normalizer = ours.weighted_sums(
    logits, batch, loss_normalizing_factor, z_loss, label_smoothing
  )
  # The one division is made by our model's loss_fn, and not by weighted_sums.
  return (
    sums['loss'] / normalizer,
    sums['z_loss'] / normalizer,
    sums['weight_sum'],
  )


def get_loss_normalizing_factor_and_weights(loss_normalizing_factor, batch):
  name = getattr(loss_normalizing_factor, 'name', loss_normalizing_factor)
  weights, normalizer = ours.normalization(batch, name)
  return normalizer, weights
