"""T5's layers, and the sites in them where adapters may stand.

Parameters have the paths and shapes of T5X's minimal T5, so that public
checkpoints load. Adapters add parameters under paths of their own and change
none of these.
"""

from typing import Any

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
from moe_lite.core.errors import UserError
from moe_lite.core.features import ENCODED
from moe_lite.core.types import Array, Axes, Initializer, Shape
from moe_lite.routing.context import Context
from moe_lite.t5.attention import Visible, attend
from moe_lite.t5.config import ACTIVATIONS, ATTENTION_SITES, T5Config, mlp_sites

# Projections whose products stay in the type of activations if others are in
# int8. What `wo` reads has outliers, logits decide between answers, and `out`
# costs little time and keeps some answers.
IN_ACTIVATIONS = ('wo', 'out', 'logits_dense')
# What `remat` calls the output of attention.
ATTENDED = 'attended'
# The logical axes of activations between layers, [B, L, D].
HIDDEN_AXES = ('batch', 'length', 'embed')

# With `jit` it is traced once for each shape, not once for each layer.
dense_init = jax.jit(
  nn.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal'),
  static_argnums=(1, 2),
)


class LayerNorm(nn.Module):
  """T5's layer norm. It subtracts no mean and has no bias."""

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
    """Maps ids [B, L] to vectors [B, L, D]."""
    x = quantization.lookup(self.embedding, tokens, self.config.dtype)
    return partitioning.constrain(x, HIDDEN_AXES)

  def attend(self, x: Array) -> Array:
    """Maps activations [B, L, D] to float32 logits [B, L, V].

    T5 divides the activations by sqrt(D) where embedding and logits are tied.
    """
    x = x / np.sqrt(self.config.emb_dim)
    return quantization.matmul(
      x, self.embedding.T, self.config.dtype, jnp.float32
    )


class Projection(nn.Module):
  """A matmul without bias.

  Its kernel is [in, out]. Heads and kv are joined in it.

  Attributes:
    config: the config of the network.
    features: the shape of one token after the projection, (F,) or (H, K).
    axes: the logical axes of the kernel.
    kernel_init: draws the initial kernel.
    accumulate: the dtype of the result; None takes that of the operands.
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
    cfg = self.config
    if cfg.base_compute == 'int8' and self.name not in IN_ACTIVATIONS:
      y = self._in_int8(x, kernel)
    else:
      y = quantization.matmul(x, kernel, cfg.dtype, self.accumulate)
    return y.reshape(*x.shape[:-1], *self.features)

  def _in_int8(self, x: Array, kernel: Any) -> Array:
    if isinstance(kernel, quantization.Int8):
      return quantization.int8_matmul(x, kernel, self.config.dtype)
    if not self.is_initializing():
      raise UserError(
        "BASE_COMPUTE = 'int8' multiplies a base that is held in int8: give "
        """--gin.BASE_DTYPE="'int8'" as well, or leave BASE_COMPUTE out."""
      )
    return quantization.matmul(x, kernel, self.config.dtype)


def dropout(
  config: T5Config, x: Array, deterministic: bool, shared: bool = True
) -> Array:
  """Applies dropout to `x`, as T5X does.

  Args:
    config: the config of the network, with the dropout rate.
    x: [..., L, features].
    deterministic: whether dropout is off.
    shared: whether the same features drop out at every position. In T5X this is
      so everywhere but after the encoder's last norm.
  """
  layer = nn.Dropout(config.dropout_rate, broadcast_dims=(-2,) * shared)
  return layer(x, deterministic=deterministic)


class AdaptedLayer(nn.Module):
  """The base class of layers with sites. Subclasses project through the sites.

  Attributes:
    config: the config of the network.
    deterministic: whether dropout is off.
  """

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
    """Applies the frozen projection of a site, and then the site's adapter.

    Args:
      site: the site. The projection has its name.
      x: what the projection reads, [B, L, *site.in_axes].
      features: the shape of one token after the projection.
      context: what routers are told about the positions of `x`.
      kernel_init: draws the initial kernel.

    Returns:
      [B, L, *features].
    """
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
    """Applies `dropout` to activations."""
    return dropout(self.config, x, self.deterministic)


class Attention(AdaptedLayer):
  """Multi-head attention. It has no biases and does not scale the logits.

  Attributes:
    decode: whether keys and values are kept. Those of the decoder's own
      positions are in the collection `cache`, and a call then attends from one
      new position to all cached ones.
    is_cross: whether the keys are those of the encoder's outputs. They are in
      the collection `ENCODED`, if it is given, or written there if it may be.
  """

  decode: bool = False
  is_cross: bool = False

  @nn.compact
  def __call__(
    self,
    inputs_q: Array,
    inputs_kv: Array,
    visible: Visible,
    context_q: Context,
    context_kv: Context,
    index: Array | None = None,
  ) -> Array:
    """Attends from `inputs_q` [B, T, D] to `inputs_kv` [B, S, D].

    Args:
      inputs_q: what the queries are computed from.
      inputs_kv: what the keys and values are computed from.
      visible: what the queries may see. In a decoding step, the keys are all
        cached positions.
      context_q: what routers are told about the positions of the queries.
      context_kv: what routers are told about the positions of the keys.
      index: the position in the cache that a decoding step writes, a scalar.

    Returns:
      [B, T, D].
    """
    cfg = self.config
    heads = (cfg.num_heads, cfg.head_dim)
    sites = ATTENTION_SITES

    # T5 does not divide the logits by sqrt(K). It draws smaller query kernels.
    def query_init(*args):
      return dense_init(*args) / np.sqrt(cfg.head_dim)

    q = self.project(sites['query'], inputs_q, heads, context_q, query_init)
    if self.has_variable(ENCODED, 'encoded_key'):
      k, v = self._encoded()
    else:
      k = self.project(sites['key'], inputs_kv, heads, context_kv)
      v = self.project(sites['value'], inputs_kv, heads, context_kv)
    if self.decode and self.is_cross:
      self._keep_encoded(k, v)
    elif self.decode:
      k, v = self._cache(k, v, index)
    kept, keep_rate = None, 1 - cfg.dropout_rate
    if not self.deterministic and cfg.dropout_rate:
      # As T5X, all queries drop the same keys.
      ones = jnp.ones((q.shape[0], cfg.num_heads, 1, k.shape[1]))
      kept = self.dropout(ones) > 0
    x = attend(q, k, v, visible, kept, keep_rate, cfg.attention)
    x, _ = joined(checkpoint_name(x, ATTENDED), ('heads', 'kv'))
    return self.project(sites['out'], x, (cfg.emb_dim,), context_q)

  def _keep_encoded(self, k: Array, v: Array) -> None:
    """Writes keys and values of the encoder's outputs, [B, S, H, K]."""
    if self.is_mutable_collection(ENCODED):
      # A step then reads them in the order in which it multiplies.
      self.variable(ENCODED, 'encoded_key', k.transpose, 0, 2, 3, 1)
      self.variable(ENCODED, 'encoded_value', v.transpose, 0, 2, 3, 1)

  def _encoded(self) -> tuple[Array, Array]:
    """Reads what `_keep_encoded` wrote."""
    k = self.get_variable(ENCODED, 'encoded_key')
    v = self.get_variable(ENCODED, 'encoded_value')
    return k.transpose(0, 3, 1, 2), v.transpose(0, 3, 1, 2)

  def _cache(self, k: Array, v: Array, index: Array) -> tuple[Array, Array]:
    """Writes one position of the cache, or creates the cache if there is none.

    Args:
      k: keys, [B, 1, H, K]; [B, T, H, K] when the cache is created.
      v: values, in the same shape.
      index: the position to write.

    Returns:
      All cached keys and values, [B, T, H, K].
    """
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
  """T5's feed-forward layer.

  Its hidden layer is a product of activated projections, the factors. T5 1.0
  has one factor; T5 1.1 has two, one of which has a linear activation.
  """

  @nn.compact
  def __call__(self, x: Array, context: Context) -> Array:
    cfg = self.config
    sites = mlp_sites(len(cfg.mlp_activations))
    # The first sites are those of the factors, in the same order.
    # `intermediate` and `wo` follow them.
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
