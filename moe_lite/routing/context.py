"""What a router needs beyond the tensor that it reads."""

import jax
import jax.numpy as jnp
from flax import struct


class Context(struct.PyTreeNode):
  """What a router needs beyond the tensor that it reads.

  Attributes:
    mask: bool [B, L], true where there is a token, false where padding; None
      when every position counts.
    tokens: int32 [B, L], ids; None unless a router `needs` them.
    sentence_inputs: [B, 1, D], or [B, L, D] of packed rows: `sentence` of the
      frozen embeddings of the input that a position belongs to; None unless
      needed.
    sentence_encoded: the same of what the encoder wrote; in the encoder, where
      that is yet to come, equal to `sentence_inputs`.
    sentence_feature: [B, 1, F], the data set's feature `inputs_embedding`; None
      unless needed and there.
    shared: float32 [B, L, E], or [B, 1, E], what a `Decision` decided for all
      routers here; None where none did.
  """

  mask: jax.Array | None = None
  tokens: jax.Array | None = None
  sentence_inputs: jax.Array | None = None
  sentence_encoded: jax.Array | None = None
  sentence_feature: jax.Array | None = None
  shared: jax.Array | None = None


def sentence(x: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean vectors of whole inputs, scaled to a root mean square of one.

  A sum of embeddings is as large as the base's embeddings happen to be, and a
  router's logits with it; scaled, it is as large as what layer norms write.

  Args:
    x: [B, S, D].
    mask: bool [B, Q, S], which positions make up the input of each of Q.

  Returns:
    [B, Q, D], in x's dtype; zero where the mask has nothing.
  """
  share = mask / jnp.maximum(mask.sum(-1, keepdims=True), 1)
  mean = jnp.einsum(
    'bqs,bsd->bqd',
    share.astype(x.dtype),
    x,
    preferred_element_type=jnp.float32,
  )
  scale = jax.lax.rsqrt(jnp.square(mean).mean(-1, keepdims=True) + 1e-6)
  return (mean * scale).astype(x.dtype)
