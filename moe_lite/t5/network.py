"""T5 as a whole, with the methods and argument names that T5X calls."""

import flax.linen as nn
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.t5.config import T5Config
from moe_lite.t5.layers import Embed
from moe_lite.t5.positions import Source, make_context, segment_ids
from moe_lite.t5.stacks import Decoder, Encoder


class Transformer(nn.Module):
  """A T5 network, with the methods and argument names that T5X calls.

  Tokens and segment ids are int32 [B, L], and they are 0 at padding. If a row
  has segment ids, it holds several examples, which do not see each other.
  `inputs_embedding`, [B, F], and the numbers of tasks are read by routers
  alone; see `core.features`.
  """

  config: T5Config

  @property
  def scan_layers(self) -> bool:
    """Whether layers are axis 0 of a cache. T5X's decoding asks for it."""
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
    encoder_task_ids: Array | None = None,
    task_numbers: Array | None = None,
  ) -> Array:
    """Returns what the decoder attends to, [B, L, D]."""
    is_token = encoder_input_tokens > 0
    return self.encoder(
      encoder_input_tokens,
      segment_ids(is_token, encoder_segment_ids),
      self._context(
        is_token,
        encoder_input_tokens,
        encoder_segment_ids,
        Source(
          encoder_input_tokens,
          is_token,
          encoder_segment_ids,
          embedding=inputs_embedding,
          task_ids=encoder_task_ids,
          task_numbers=task_numbers,
        ),
        encoder_task_ids,
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
    encoder_task_ids: Array | None = None,
    decoder_task_ids: Array | None = None,
    task_numbers: Array | None = None,
  ) -> Array:
    """Returns float32 logits, [B, T, V].

    With `decode`, one call decodes one position. The first call takes tokens of
    full length and creates the collection `cache`. Each later call takes tokens
    [B, 1] and moves the cache by one of its `max_decode_length` positions.

    `decoder_positions` is accepted because T5X passes it. It is not read,
    because T5 only sees differences of positions.
    """
    del decoder_positions
    is_input = encoder_input_tokens > 0
    if decode:
      # While decoding, there are no targets yet, so every position is a token.
      is_token = jnp.ones(decoder_input_tokens.shape, bool)
    else:
      is_token = decoder_target_tokens > 0
    source = Source(
      encoder_input_tokens,
      is_input,
      encoder_segment_ids,
      encoded,
      inputs_embedding,
      encoder_task_ids,
      task_numbers,
    )
    logits = self.decoder(
      encoded,
      decoder_input_tokens,
      segment_ids(is_token, decoder_segment_ids),
      segment_ids(is_input, encoder_segment_ids),
      self._context(
        is_token,
        decoder_input_tokens,
        decoder_segment_ids,
        source,
        decoder_task_ids,
        is_causal=True,
      ),
      self._context(
        is_input,
        encoder_input_tokens,
        encoder_segment_ids,
        source,
        encoder_task_ids,
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
    task_ids: Array | None,
    is_causal: bool = False,
  ) -> Context:
    if task_ids is None and self.is_initializing():
      # No parameter depends on them.
      task_ids = jnp.zeros_like(tokens)
    return make_context(
      self.config.context_needs,
      is_token,
      tokens,
      segments,
      source,
      self.token_embedder,
      task_ids,
      is_causal,
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
    encoder_task_ids: Array | None = None,
    decoder_task_ids: Array | None = None,
    task_numbers: Array | None = None,
  ) -> Array:
    """Returns teacher-forced logits, [B, T, V]; see `encode` and `decode`."""
    del encoder_positions
    encoded = self.encode(
      encoder_input_tokens,
      encoder_segment_ids,
      enable_dropout,
      inputs_embedding=inputs_embedding,
      encoder_task_ids=encoder_task_ids,
      task_numbers=task_numbers,
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
      encoder_task_ids=encoder_task_ids,
      decoder_task_ids=decoder_task_ids,
      task_numbers=task_numbers,
    )
