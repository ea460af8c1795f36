"""T5 as a whole: encoder, decoder, and how their layers are run.

`scan_layers` and `remat` live here and nowhere else.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import ROUTER_RNG
from moe_lite.routing.router import STATISTICS, TOKEN_STATISTICS
from moe_lite.routing.shared import decide
from moe_lite.t5.config import T5Config
from moe_lite.t5.layers import (
  HIDDEN_AXES,
  MLP,
  AdaptedLayer,
  Attention,
  Embed,
  LayerNorm,
  Projection,
  RelativePositionBias,
  attention_bias,
  dropout,
)
from moe_lite.t5.positions import Source, attention_mask, make_context

# What `remat='minimal'` keeps: the matmul outputs that the backward pass would
# otherwise compute again. Adapters and elementwise work are recomputed.
SAVED = ('query', 'key', 'value', 'out', 'wi', 'wi_0', 'wi_1')


class EncoderLayer(AdaptedLayer):
  """Self-attention and MLP, each a residual branch."""

  @nn.compact
  def __call__(self, x: Array, bias: Array, context: Context):
    cfg, fixed = self.config, self.deterministic
    (context,) = decide(cfg.decisions, 'layer', (context, x))
    y = LayerNorm(cfg, name='pre_attention_layer_norm')(x)
    y = Attention(cfg, fixed, name='attention')(y, y, bias, context, context)
    x = x + self.dropout(y)
    y = LayerNorm(cfg, name='pre_mlp_layer_norm')(x)
    y = MLP(cfg, fixed, name='mlp')(y, context)
    # The second value is what a scan would stack: nothing.
    return partitioning.constrain(x + self.dropout(y), HIDDEN_AXES), None


class DecoderLayer(AdaptedLayer):
  """Self-attention, attention to the encoder, and MLP."""

  decode: bool = False

  @nn.compact
  def __call__(
    self,
    x: Array,
    encoded: Array,
    bias: Array,
    encoded_bias: Array,
    context: Context,
    encoded_context: Context,
    index: Array | None,
  ):
    cfg, fixed = self.config, self.deterministic
    context, encoded_context = decide(
      cfg.decisions, 'layer', (context, x), (encoded_context, encoded)
    )
    y = LayerNorm(cfg, name='pre_self_attention_layer_norm')(x)
    y = Attention(cfg, fixed, decode=self.decode, name='self_attention')(
      y, y, bias, context, context, index
    )
    x = x + self.dropout(y)
    y = LayerNorm(cfg, name='pre_cross_attention_layer_norm')(x)
    y = Attention(cfg, fixed, name='encoder_decoder_attention')(
      y, encoded, encoded_bias, context, encoded_context
    )
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
  """Runs a stack of layers, in the form that the config asks for.

  Called within a compact method. Parameters live under 'layers_0', 'layers_1',
  ... in the loop form, and stacked on axis 1 under 'layers' in the scan form.

  Args:
    layer: called with `x` and `shared`, returns the next `x` and None.
    config: of the network.
    num_layers: N.
    x: what the first layer reads.
    *shared: what every layer reads alike.
    **attributes: of each layer.
  """
  if config.remat != 'none':
    policy = None
    if config.remat == 'minimal':
      policy = jax.checkpoint_policies.save_only_these_names(*SAVED)
    # A scan already keeps XLA from merging the two computations.
    layer = nn.remat(layer, policy=policy, prevent_cse=not config.scan_layers)
  if not config.scan_layers:
    for i in range(num_layers):
      x, _ = layer(config, name=f'layers_{i}', **attributes)(x, *shared)
    return x
  scanned = partitioning.scan_with_axes(
    layer,
    variable_axes={'params': 1, 'cache': 0, STATISTICS: 0, TOKEN_STATISTICS: 0},
    split_rngs={'params': True, 'dropout': True, ROUTER_RNG: True},
    in_axes=(nn.broadcast,) * len(shared),
    length=num_layers,
    axis_name='layers',
    axes_collections=('params',),
  )
  x, _ = scanned(config, name='layers', **attributes)(x, *shared)
  return x


class Encoder(nn.Module):
  """The encoder's stack, from tokens to what the decoder reads."""

  config: T5Config
  embedder: Embed

  @nn.compact
  def __call__(
    self, tokens: Array, mask: Array, context: Context, deterministic: bool
  ) -> Array:
    """Tokens [B, L] and mask [B, L, L] to [B, L, D]."""
    cfg = self.config
    positions = jnp.arange(tokens.shape[1])
    relpos_bias = RelativePositionBias(
      cfg, bidirectional=True, name='relpos_bias'
    )
    x = dropout(cfg, self.embedder(tokens), deterministic)
    (context,) = decide(cfg.decisions, 'stack', (context, x))
    x = run_layers(
      EncoderLayer,
      cfg,
      cfg.num_encoder_layers,
      x,
      relpos_bias(positions, positions) + attention_bias(mask),
      context,
      deterministic=deterministic,
    )
    y = LayerNorm(cfg, name='encoder_norm')(x)
    return dropout(cfg, y, deterministic)


class Decoder(nn.Module):
  """The decoder's stack, from tokens to logits."""

  config: T5Config
  embedder: Embed

  @nn.compact
  def __call__(
    self,
    encoded: Array,
    tokens: Array,
    mask: Array,
    encoded_mask: Array,
    context: Context,
    encoded_context: Context,
    deterministic: bool,
    decode: bool,
    max_decode_length: int | None,
  ) -> Array:
    """Tokens [B, T] and masks [B, T, T], [B, T, L] to logits [B, T, V]."""
    cfg = self.config
    queries = keys = jnp.arange(tokens.shape[1])
    index = None
    if decode:
      is_step = self.has_variable('cache', 'cache_index')
      cache_index = self.variable('cache', 'cache_index', jnp.int32, 0)
      if is_step:
        # The new position attends to itself and to all before it.
        index = cache_index.value
        cache_index.value = index + 1
        queries, keys = index[None], jnp.arange(max_decode_length)
        mask = jnp.broadcast_to(keys <= index, (tokens.shape[0], 1, keys.size))
    relpos_bias = RelativePositionBias(
      cfg, bidirectional=False, name='relpos_bias'
    )
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
      relpos_bias(queries, keys) + attention_bias(mask),
      attention_bias(encoded_mask),
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


class Transformer(nn.Module):
  """T5, with the methods and argument names that T5X calls.

  Tokens and segment ids are int32 [B, L], 0 where padding. Rows with segment
  ids hold several examples, which do not see each other. `inputs_embedding`
  [B, F] is for routers alone.
  """

  config: T5Config

  @property
  def scan_layers(self) -> bool:
    """Whether caches carry layers on axis 0; T5X's decoding asks for it."""
    return self.config.scan_layers

  def setup(self):
    self.token_embedder = Embed(self.config)
    self.encoder = Encoder(self.config, self.token_embedder)
    self.decoder = Decoder(self.config, self.token_embedder)

  def encode(
    self,
    encoder_input_tokens: Array,
    encoder_segment_ids: Array | None = None,
    enable_dropout: bool = True,
    inputs_embedding: Array | None = None,
  ) -> Array:
    """Returns what the decoder reads, [B, L, D]."""
    is_token = encoder_input_tokens > 0
    mask = attention_mask(
      is_token, is_token, encoder_segment_ids, encoder_segment_ids
    )
    return self.encoder(
      encoder_input_tokens,
      mask,
      self._context(
        is_token,
        encoder_input_tokens,
        encoder_segment_ids,
        Source(
          encoder_input_tokens,
          is_token,
          encoder_segment_ids,
          embedding=inputs_embedding,
        ),
      ),
      not enable_dropout,
    )

  def decode(
    self,
    encoded: Array,
    encoder_input_tokens: Array,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    encoder_segment_ids: Array | None = None,
    decoder_segment_ids: Array | None = None,
    decoder_positions: Array | None = None,
    enable_dropout: bool = True,
    decode: bool = False,
    max_decode_length: int | None = None,
    inputs_embedding: Array | None = None,
  ) -> Array:
    """Returns float32 logits [B, T, V].

    With `decode`, one position a call: the first call with full-length tokens
    creates the collection `cache`, and each later one takes tokens [B, 1] and
    moves the cache by one of `max_decode_length` positions. `decoder_positions`
    is accepted for T5X's sake: T5 sees only differences of positions.
    """
    del decoder_positions
    is_input = encoder_input_tokens > 0
    if decode:
      # What is being decoded has no targets yet: every position is a token.
      is_token = jnp.ones(decoder_input_tokens.shape, bool)
    else:
      is_token = decoder_target_tokens > 0
    length = decoder_input_tokens.shape[1]
    mask = attention_mask(
      is_token, is_token, decoder_segment_ids, decoder_segment_ids
    ) & jnp.tri(length, dtype=bool)
    encoded_mask = attention_mask(
      is_token, is_input, decoder_segment_ids, encoder_segment_ids
    )
    source = Source(
      encoder_input_tokens,
      is_input,
      encoder_segment_ids,
      encoded,
      inputs_embedding,
    )
    logits = self.decoder(
      encoded,
      decoder_input_tokens,
      mask,
      encoded_mask,
      self._context(
        is_token, decoder_input_tokens, decoder_segment_ids, source
      ),
      self._context(
        is_input, encoder_input_tokens, encoder_segment_ids, source
      ),
      not enable_dropout,
      decode,
      max_decode_length,
    )
    return partitioning.constrain(logits, ('batch', 'length', 'vocab'))

  def _context(
    self,
    is_token: Array,
    tokens: Array,
    segments: Array | None,
    source: Source,
  ) -> Context:
    needs = self.config.context_needs
    return make_context(
      needs, is_token, tokens, segments, source, self.token_embedder
    )

  def __call__(
    self,
    encoder_input_tokens: Array,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    encoder_segment_ids: Array | None = None,
    decoder_segment_ids: Array | None = None,
    encoder_positions: Array | None = None,
    decoder_positions: Array | None = None,
    *,
    enable_dropout: bool = True,
    decode: bool = False,
    inputs_embedding: Array | None = None,
  ) -> Array:
    """Teacher-forced logits [B, T, V]; see `encode` and `decode`."""
    del encoder_positions
    encoded = self.encode(
      encoder_input_tokens,
      encoder_segment_ids,
      enable_dropout,
      inputs_embedding,
    )
    return self.decode(
      encoded,
      encoder_input_tokens,
      decoder_input_tokens,
      decoder_target_tokens,
      encoder_segment_ids,
      decoder_segment_ids,
      decoder_positions,
      enable_dropout,
      decode,
      inputs_embedding=inputs_embedding,
    )
