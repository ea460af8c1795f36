"""T5's layers, and the sites in them where adapters may stand.

Parameter paths and shapes are those of T5X's minimal T5, so that public
checkpoints load; adapters add segments of their own and change none.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from moe_lite.adapters.adapter import (
  Site,
  adapt,
  joined,
)
from moe_lite.core import partitioning, quantization
from moe_lite.core.types import Array, Axes, Initializer, Shape
from moe_lite.routing.context import Context
from moe_lite.t5.config import ACTIVATIONS, ATTENTION_SITES, T5Config, mlp_sites

HIDDEN_AXES = ('batch', 'length', 'embed')
# Added to the attention logits of positions that may not be attended to.
MASKED = -1e10

dense_init = nn.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal')


class LayerNorm(nn.Module):
  """T5's layer norm: no mean is subtracted, and there is no bias."""

  config: T5Config

  @nn.compact
  def __call__(self, x: Array) -> Array:
    scale = partitioning.param(
      self,
      'scale',
      nn.initializers.ones,
      (x.shape[-1],),
      jnp.float32,
      ('embed',),
    )
    x = x.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-6)
    return (x * scale).astype(self.config.dtype)


class Embed(nn.Module):
  """The token embedding, which may also serve as the output projection."""

  config: T5Config

  def setup(self):
    self.embedding = partitioning.param(
      self,
      'embedding',
      nn.initializers.normal(1.0),
      (self.config.vocab_size, self.config.emb_dim),
      jnp.float32,
      ('vocab', 'embed'),
    )

  def __call__(self, tokens: Array) -> Array:
    """[B, L] ids to [B, L, D]."""
    x = quantization.lookup(self.embedding, tokens, self.config.dtype)
    return partitioning.constrain(x, HIDDEN_AXES)

  def attend(self, x: Array) -> Array:
    """[B, L, D] to float32 logits [B, L, V]; scaled, as tied T5 wants."""
    x = x / np.sqrt(self.config.emb_dim)
    return quantization.matmul(
      x, self.embedding.T, self.config.dtype, jnp.float32
    )


class Projection(nn.Module):
  """A matmul without bias. Its kernel is `[in, out]`, heads and kv joined.

  Attributes:
    features: one token's shape after it, (F,) or (H, K).
    axes: logical axes of the kernel.
    accumulate: dtype of the result, if it should not be the operands'.
  """

  config: T5Config
  features: Shape
  axes: Axes
  kernel_init: Initializer = dense_init
  accumulate: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = partitioning.param(
      self,
      'kernel',
      self.kernel_init,
      (x.shape[-1], int(np.prod(self.features))),
      jnp.float32,
      self.axes,
    )
    y = quantization.matmul(x, kernel, self.config.dtype, self.accumulate)
    return y.reshape(*x.shape[:-1], *self.features)


def dropout(config: T5Config, x: Array, deterministic: bool) -> Array:
  """Drops the same features at every position, as T5X does."""
  layer = nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))
  return layer(x, deterministic=deterministic)


class AdaptedLayer(nn.Module):
  """A layer with sites; subclasses project through them."""

  config: T5Config
  deterministic: bool = True

  def project(
    self,
    site: Site,
    x: Array,
    features: Shape,
    context: Context,
    kernel_init: Initializer = dense_init,
  ) -> Array:
    """The frozen projection named like its site, then the site's adapter."""
    out_axis = 'joined_kv' if len(site.out_axes) == 2 else site.out_axes[0]
    y = Projection(
      self.config,
      features,
      (*site.in_axes, out_axis),
      kernel_init,
      name=site.name,
    )(x)
    y = checkpoint_name(y, site.name)
    y = partitioning.constrain(y, ('batch', 'length', *site.out_axes))
    return adapt(self.config.adapters, site, x, y, context)

  def dropout(self, x: Array) -> Array:
    """Drops features as `dropout` does."""
    return dropout(self.config, x, self.deterministic)


class Attention(AdaptedLayer):
  """Multi-head attention without biases and without scaling of the logits.

  Attributes:
    decode: keep keys and values in the collection `cache`, and attend from one
      new position to all that are cached.
  """

  decode: bool = False

  @nn.compact
  def __call__(
    self,
    inputs_q: Array,
    inputs_kv: Array,
    bias: Array | None,
    context_q: Context,
    context_kv: Context,
    index: Array | None = None,
  ) -> Array:
    """Attends from `inputs_q` [B, T, D] to `inputs_kv` [B, S, D].

    Args:
      inputs_q: where queries come from.
      inputs_kv: where keys and values come from.
      bias: added to the logits, broadcast to [B, H, T, S]: relative position
        and mask; of a decoding step, to all cached positions.
      context_q: of the queries' positions.
      context_kv: of the keys' positions.
      index: the position that a decoding step writes.

    Returns:
      [B, T, D].
    """
    cfg = self.config
    heads = (cfg.num_heads, cfg.head_dim)
    sites = ATTENTION_SITES

    # Instead of dividing the logits by sqrt(K), T5 starts with small queries.
    def query_init(*args):
      return dense_init(*args) / np.sqrt(cfg.head_dim)

    q = self.project(sites['query'], inputs_q, heads, context_q, query_init)
    k = self.project(sites['key'], inputs_kv, heads, context_kv)
    v = self.project(sites['value'], inputs_kv, heads, context_kv)
    if self.decode:
      k, v = self._cache(k, v, index)
    logits = jnp.einsum('bthk,bshk->bhts', q, k)
    if bias is not None:
      logits = logits + bias.astype(logits.dtype)
    weights = jax.nn.softmax(logits.astype(jnp.float32)).astype(cfg.dtype)
    weights = self.dropout(weights)
    x = jnp.einsum('bhts,bshk->bthk', weights, v)
    x, _ = joined(x, ('heads', 'kv'))
    return self.project(sites['out'], x, (cfg.emb_dim,), context_q)

  def _cache(self, k: Array, v: Array, index: Array) -> tuple[Array, Array]:
    """Writes one position of the cache; creates it when there is none."""
    is_filled = self.has_variable('cache', 'cached_key')
    keys = self.variable('cache', 'cached_key', jnp.zeros_like, k)
    values = self.variable('cache', 'cached_value', jnp.zeros_like, v)
    if not is_filled:
      return k, v
    write = lambda cached, new: jax.lax.dynamic_update_slice_in_dim(
      cached, new.astype(cached.dtype), index, axis=1
    )
    keys.value = write(keys.value, k)
    values.value = write(values.value, v)
    return keys.value, values.value


class MLP(AdaptedLayer):
  """T5's feed-forward layer: a product of activated factors, projected back."""

  @nn.compact
  def __call__(self, x: Array, context: Context) -> Array:
    cfg = self.config
    sites = mlp_sites(len(cfg.mlp_activations))
    # The sites' order is the factors' order; `intermediate` and `wo` follow.
    factors = []
    for site, name in zip(sites.values(), cfg.mlp_activations, strict=False):
      projected = self.project(site, x, (cfg.mlp_dim,), context)
      activated = ACTIVATIONS[name](projected)
      if not factors:
        activated = adapt(
          cfg.adapters, sites['intermediate'], projected, activated, context
        )
      factors.append(activated)
    hidden = factors[0]
    for factor in factors[1:]:
      hidden = hidden * factor
    hidden = self.dropout(hidden)
    return self.project(sites['wo'], hidden, (cfg.emb_dim,), context)


class RelativePositionBias(nn.Module):
  """T5's bias on attention logits: one value a head and distance bucket."""

  config: T5Config
  bidirectional: bool

  @nn.compact
  def __call__(self, query_positions: Array, key_positions: Array) -> Array:
    """Positions [T] and [S] to a bias [1, H, T, S]."""
    cfg = self.config
    embedding = partitioning.param(
      self,
      'rel_embedding',
      nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform'),
      (cfg.num_heads, cfg.relative_attention_num_buckets),
      jnp.float32,
      ('heads', 'relpos_buckets'),
    )
    buckets = relative_position_bucket(
      key_positions[None, :] - query_positions[:, None],
      self.bidirectional,
      cfg.relative_attention_num_buckets,
      cfg.relative_attention_max_distance,
    )
    return embedding.astype(cfg.dtype)[:, buckets][None]


def relative_position_bucket(
  relative_position: Array,
  bidirectional: bool,
  num_buckets: int,
  max_distance: int,
) -> Array:
  """Distance buckets: exact when near, logarithmic when far.

  Args:
    relative_position: key position minus query position, any shape.
    bidirectional: half of the buckets serve keys after the query; otherwise
      those keys share bucket zero.
    num_buckets: of one head.
    max_distance: from here on there is one bucket.

  Source: Raffel et al., arXiv 1910.10683, section 2.1; buckets equal those of
  T5X and of Hugging Face's T5.
  """
  bucket = 0
  if bidirectional:
    num_buckets //= 2
    bucket = (relative_position > 0).astype(jnp.int32) * num_buckets
    distance = jnp.abs(relative_position)
  else:
    distance = jnp.maximum(-relative_position, 0)
  num_exact = num_buckets // 2
  # Distance zero takes the exact branch; epsilon only keeps its log finite.
  far = jnp.log(distance.astype(jnp.float32) / num_exact + np.finfo('f4').eps)
  far = far / np.log(max_distance / num_exact) * (num_buckets - num_exact)
  far = jnp.minimum(num_exact + far.astype(jnp.int32), num_buckets - 1)
  return bucket + jnp.where(distance < num_exact, distance, far)


def attention_bias(mask: Array) -> Array:
  """A bool mask [B, T, S] (true: may attend) as a bias [B, 1, T, S]."""
  return jnp.where(mask, 0.0, MASKED)[:, None]
