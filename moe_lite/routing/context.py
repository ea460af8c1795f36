"""What the network tells a router, besides the tensor that it reads."""

import jax
import jax.numpy as jnp
from flax import struct


class Context(struct.PyTreeNode):
  """What the network tells a router, besides the tensor that it reads.

  A field is None unless a router of the network `needs` it. The mask and
  `is_of_task`, which statistics read, need not be asked for.
  B rows have L positions each.

  Attributes:
    mask: bool [B, L]. It is true at tokens and false at padding. None means
      that every position counts.
    tokens: int32 [B, L], the ids of the tokens.
    sentence_inputs: [B, 1, D], or [B, L, D] for packed rows. For each position,
      it is the mean (`sentence`) of the frozen embeddings of the input that the
      position belongs to.
    sentence_encoded: the same mean of what the encoder wrote. In the encoder
      that does not exist yet, so there it equals `sentence_inputs`.
    sentence_feature: [B, 1, F], the feature `inputs_embedding` of the data set.
      It is None too if the batch does not have the feature.
    task: int32 [B, L] or [B, 1], the number of the task of each position, from
      1 on, and 0 at padding. It is None if the batch has no numbers.
    is_of_task: bool [B, L, N] or [B, 1, N], true where a position belongs to
      the task of that number. With it, statistics are also summed by task. It
      is None unless the batch says which numbers there are.
    example: bool [B, 1, L] or [B, L, L], true where the second position belongs
      to the example of the first one. It is None in the decoder, where a
      position must not see later ones.
    shared: float32 [B, L, E] or [B, 1, E], the weights that a `Decision` made
      for all routers here. None means that no decision was made.
  """

  mask: jax.Array | None = None
  tokens: jax.Array | None = None
  sentence_inputs: jax.Array | None = None
  sentence_encoded: jax.Array | None = None
  sentence_feature: jax.Array | None = None
  task: jax.Array | None = None
  is_of_task: jax.Array | None = None
  example: jax.Array | None = None
  shared: jax.Array | None = None


def sentence(x: jax.Array, mask: jax.Array) -> jax.Array:
  """Averages the vectors of an input and scales the mean to a fixed size.

  The size of embeddings differs from base to base, and the logits of a router
  would grow with it. The mean is therefore scaled to a root mean square of one,
  which is the size of what a layer norm writes.

  Args:
    x: the vectors of S positions, [B, S, D].
    mask: bool [B, Q, S]. For each of Q queries it selects the positions that
      make up the input.

  Returns:
    [B, Q, D], in the dtype of `x`. It is zero where the mask selects nothing.
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
