"""The bias that T5 adds to attention logits, by relative position."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.t5.config import T5Config


class RelativePositionBias(nn.Module):
  """T5's bias by relative position: one value for each head and bucket.

  Attributes:
    config: the config of the network.
    bidirectional: whether keys after the query have buckets of their own, as in
      the encoder.
  """

  config: T5Config
  bidirectional: bool

  @nn.compact
  def __call__(
    self, num_queries: int, num_keys: int, first: Array | int = 0
  ) -> Array:
    """Returns the bias of each distance, [H, T + S - 1].

    Args:
      num_queries: T.
      num_keys: S.
      first: the position of the first query among the keys, a scalar. The
        `distances` of `attention.Visible` have this form.
    """
    cfg = self.config
    embedding = partitioning.param(
      self,
      'rel_embedding',
      nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform'),
      (cfg.num_heads, cfg.relative_attention_num_buckets),
      jnp.float32,
      ('heads', 'relpos_buckets'),
    )
    distances = jnp.arange(num_queries + num_keys - 1) - (num_queries - 1)
    buckets = relative_position_bucket(
      distances - first,
      self.bidirectional,
      cfg.relative_attention_num_buckets,
      cfg.relative_attention_max_distance,
    )
    return embedding.astype(cfg.dtype)[:, buckets]


def relative_position_bucket(
  relative_position: Array,
  bidirectional: bool,
  num_buckets: int,
  max_distance: int,
) -> Array:
  """Maps relative positions to buckets.

  Half of the buckets (a quarter on each side, if bidirectional) hold one
  distance each. The others hold ranges of distances that grow logarithmically.

  Args:
    relative_position: the position of the key minus that of the query, in any
      shape.
    bidirectional: if true, half of the buckets are for keys after the query. If
      false, all of those keys share bucket zero.
    num_buckets: the number of buckets of one head.
    max_distance: all distances from this one on share one bucket.

  Returns:
    int32 buckets, in the shape of `relative_position`.

  Source: Raffel et al., arXiv 1910.10683, section 2.1. The buckets equal those
  of T5X and of Hugging Face's T5.
  """
  bucket = 0
  if bidirectional:
    num_buckets //= 2
    bucket = (relative_position > 0).astype(jnp.int32) * num_buckets
    distance = jnp.abs(relative_position)
  else:
    distance = jnp.maximum(-relative_position, 0)
  num_exact = num_buckets // 2
  # Distance zero is in the exact branch. Epsilon only keeps its logarithm
  # finite.
  far = jnp.log(distance.astype(jnp.float32) / num_exact + np.finfo('f4').eps)
  far = far / np.log(max_distance / num_exact) * (num_buckets - num_exact)
  far = jnp.minimum(num_exact + far.astype(jnp.int32), num_buckets - 1)
  return bucket + jnp.where(distance < num_exact, distance, far)
