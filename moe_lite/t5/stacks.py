"""The encoder's and the decoder's stack of layers.

This module alone decides how the layers of a stack are run: one after another
or in a scan (`scan_layers`), and what the backward pass recomputes (`remat`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.features import ENCODED
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import ROUTER_RNG
from moe_lite.routing.router import ROUTED, STATISTICS, TOKEN_STATISTICS
from moe_lite.routing.shared import decide
from moe_lite.t5.attention import Visible
from moe_lite.t5.biases import RelativePositionBias
from moe_lite.t5.config import T5Config
from moe_lite.t5.layers import (
  ATTENDED,
  HIDDEN_AXES,
  MLP,
  AdaptedLayer,
  Attention,
  Embed,
  LayerNorm,
  Projection,
  dropout,
)

# The outputs of matmuls that `remat='minimal'` keeps for the backward pass.
# Of adapters only small logits of routers are kept. Other parts of adapters and
# elementwise operations are computed again. What nothing needs, such as
# `ATTENDED` where no adapter stands at `out`, is not kept.
SAVED = ('query', 'key', 'value', ATTENDED, 'out', 'wi', 'wi_0', 'wi_1', ROUTED)


class EncoderLayer(AdaptedLayer):
  """An encoder layer: self-attention and an MLP, each as a residual branch."""

  @nn.compact
  def __call__(self, x: Array, visible: Visible, context: Context):
    """Runs the layer.

    Args:
      x: the activations that the layer reads, [B, L, D].
      visible: what positions see of one another.
      context: what routers are told about the positions of `x`.

    Returns:
      The activations that it writes, [B, L, D], and None. A scan would stack
      the second value over layers.
    """
    cfg, fixed = self.config, self.deterministic
    (context,) = decide(cfg.decisions, 'layer', (context, x))
    y = LayerNorm(cfg, name='pre_attention_layer_norm')(x)
    y = Attention(cfg, fixed, name='attention')(y, y, visible, context, context)
    x = x + self.dropout(y)
    y = LayerNorm(cfg, name='pre_mlp_layer_norm')(x)
    y = MLP(cfg, fixed, name='mlp')(y, context)
    return partitioning.constrain(x + self.dropout(y), HIDDEN_AXES), None


class DecoderLayer(AdaptedLayer):
  """A decoder layer: self-attention, attention to the encoder, and an MLP.

  Attributes:
    decode: whether the self-attention keeps a cache; see `Attention`.
  """

  decode: bool = False

  @nn.compact
  def __call__(
    self,
    x: Array,
    encoded: Array,
    visible: Visible,
    encoded_visible: Visible,
    context: Context,
    encoded_context: Context,
    index: Array | None,
  ):
    """Runs the layer.

    Args:
      x: the activations that the layer reads, [B, T, D].
      encoded: what the encoder wrote, [B, S, D].
      visible: what the decoder's positions see of one another.
      encoded_visible: what they see of the encoder's.
      context: what routers are told about the positions of `x`.
      encoded_context: what routers are told about the positions of `encoded`.
      index: the position in the cache that a decoding step writes, a scalar;
        None outside of decoding steps.

    Returns:
      The activations that it writes, [B, T, D], and None, as those of
      `EncoderLayer`.
    """
    cfg, fixed = self.config, self.deterministic
    context, encoded_context = decide(
      cfg.decisions, 'layer', (context, x), (encoded_context, encoded)
    )
    y = LayerNorm(cfg, name='pre_self_attention_layer_norm')(x)
    y = Attention(cfg, fixed, decode=self.decode, name='self_attention')(
      y, y, visible, context, context, index
    )
    x = x + self.dropout(y)
    y = LayerNorm(cfg, name='pre_cross_attention_layer_norm')(x)
    cross = Attention(
      cfg,
      fixed,
      decode=self.decode,
      is_cross=True,
      name='encoder_decoder_attention',
    )
    y = cross(y, encoded, encoded_visible, context, encoded_context)
    x = x + self.dropout(y)
    y = LayerNorm(cfg, name='pre_mlp_layer_norm')(x)
    y = MLP(cfg, fixed, name='mlp')(y, context)
    return partitioning.constrain(x + self.dropout(y), HIDDEN_AXES), None


def run_layers(
  layer: type[AdaptedLayer],
  config: T5Config,
  num_layers: int,
  x: Array,
  *shared,
  **attributes,
) -> Array:
  """Runs a stack of equal layers, in the form that the config asks for.

  Call this in a compact method. In the loop form, parameters live under
  'layers_0', 'layers_1' and so on. In the scan form, they live under 'layers'
  and are stacked on axis 1.

  Args:
    layer: the class of the layers. A layer is called with `x` and `shared`, and
      returns the next `x` and None.
    config: the config of the network.
    num_layers: the number of layers, N.
    x: what the first layer reads, [B, L, D].
    *shared: further arguments, which are the same for every layer.
    **attributes: attributes of every layer.

  Returns:
    What the last layer writes, [B, L, D].
  """
  if config.remat != 'none':
    policy = None
    if config.remat == 'minimal':
      policy = jax.checkpoint_policies.save_only_these_names(*SAVED)
    # XLA must not merge the recomputation with the first computation. In a scan
    # it cannot do so anyway.
    layer = nn.remat(layer, policy=policy, prevent_cse=not config.scan_layers)
  if not config.scan_layers:
    for i in range(num_layers):
      x, _ = layer(config, name=f'layers_{i}', **attributes)(x, *shared)
    return x
  scanned = partitioning.scan_with_axes(
    layer,
    variable_axes={
      'params': 1,
      **dict.fromkeys(('cache', ENCODED, STATISTICS, TOKEN_STATISTICS), 0),
    },
    split_rngs={'params': True, 'dropout': True, ROUTER_RNG: True},
    in_axes=(nn.broadcast,) * len(shared),
    length=num_layers,
    axis_name='layers',
    axes_collections=('params',),
  )
  x, _ = scanned(config, name='layers', **attributes)(x, *shared)
  return x


class Encoder(nn.Module):
  """The encoder: it maps tokens to what the decoder attends to."""

  config: T5Config
  embedder: Embed

  @nn.compact
  def __call__(
    self, tokens: Array, segments: Array, context: Context, deterministic: bool
  ) -> Array:
    """Encodes tokens.

    Args:
      tokens: ids, [B, L].
      segments: int32 [B, L], the example of each position; 0 at padding.
      context: what routers are told of these positions.
      deterministic: whether dropout is off.

    Returns:
      [B, L, D].
    """
    cfg = self.config
    length = tokens.shape[1]
    relpos_bias = RelativePositionBias(
      cfg, bidirectional=True, name='relpos_bias'
    )
    visible = Visible(segments, segments, relpos_bias(length, length))
    x = dropout(cfg, self.embedder(tokens), deterministic)
    (context,) = decide(cfg.decisions, 'stack', (context, x))
    x = run_layers(
      EncoderLayer,
      cfg,
      cfg.num_encoder_layers,
      x,
      visible,
      context,
      deterministic=deterministic,
    )
    y = LayerNorm(cfg, name='encoder_norm')(x)
    return dropout(cfg, y, deterministic, shared=False)


class Decoder(nn.Module):
  """The decoder: it maps tokens and the encoder's outputs to logits."""

  config: T5Config
  embedder: Embed

  @nn.compact
  def __call__(
    self,
    encoded: Array,
    tokens: Array,
    segments: Array,
    encoded_segments: Array,
    context: Context,
    encoded_context: Context,
    deterministic: bool,
    decode: bool,
    max_decode_length: int | None,
  ) -> Array:
    """Computes logits.

    Args:
      encoded: what the encoder wrote, [B, S, D].
      tokens: ids that the decoder reads, [B, T]; [B, 1] in a decoding step.
      segments: int32 [B, T], the example of each position; 0 at padding.
      encoded_segments: int32 [B, S], the same for the encoder's positions.
      context: what routers are told of the decoder's positions.
      encoded_context: what routers are told of the encoder's positions.
      deterministic: whether dropout is off.
      decode: whether to create a cache, or to move it by one position.
      max_decode_length: the number of positions in the cache.

    Returns:
      Float32 logits, [B, T, V].
    """
    cfg = self.config
    length, key_segments, first = tokens.shape[1], segments, 0
    index = None
    if decode:
      is_step = self.has_variable('cache', 'cache_index')
      cache_index = self.variable('cache', 'cache_index', jnp.int32, 0)
      if is_step:
        # The new position attends to itself and to all positions before it.
        first = index = cache_index.value
        cache_index.value = index + 1
        key_segments = jnp.ones((tokens.shape[0], max_decode_length), jnp.int32)
    relpos_bias = RelativePositionBias(
      cfg, bidirectional=False, name='relpos_bias'
    )
    distances = relpos_bias(length, key_segments.shape[1], first)
    x = dropout(cfg, self.embedder(tokens), deterministic)
    context, encoded_context = decide(
      cfg.decisions, 'stack', (context, x), (encoded_context, encoded)
    )
    x = run_layers(
      DecoderLayer,
      cfg,
      cfg.num_decoder_layers,
      x,
      encoded,
      Visible(segments, key_segments, distances, first, causal=True),
      Visible(segments, encoded_segments),
      context,
      encoded_context,
      index,
      deterministic=deterministic,
      decode=decode,
    )
    y = LayerNorm(cfg, name='decoder_norm')(x)
    y = dropout(cfg, y, deterministic)
    if cfg.logits_via_embedding:
      return self.embedder.attend(y)
    return Projection(
      cfg,
      (cfg.vocab_size,),
      ('embed', 'vocab'),
      accumulate=jnp.float32,
      name='logits_dense',
    )(y)
