"""The decoder of a network with its cache, one position for each call."""

import jax
import jax.numpy as jnp

from moe_lite.core.features import ENCODER_INPUTS, INPUTS_EMBEDDING
from moe_lite.core.types import Array, Batch, Tree
from moe_lite.models.decoding import TokensToLogits
from moe_lite.models.surface import Network


def prepare(
  network: Network,
  params: Tree,
  encoded: Array,
  batch: Batch,
  starts: Array,
  num_decodes: int,
) -> tuple[Tree, TokensToLogits]:
  """Prepares what the functions of `decoding` need of a network.

  Args:
    network: the network.
    params: the merged parameters.
    encoded: what the encoder wrote for the batch, [B, S, D].
    batch: the batch that it was written for.
    starts: int32 [B, T] zeros, whose shape is that of the outputs.
    num_decodes: the number of hypotheses for each example, K.

  Returns:
    An empty cache for B sequences, and `tokens_to_logits`, which decodes one
    position of B * K sequences. The K sequences of an example are neighbours.
  """
  given = (encoded, batch[ENCODER_INPUTS], batch.get(INPUTS_EMBEDDING))

  def decode(
    variables: Tree, given: Tree, ids: Array, *more: str
  ) -> tuple[Array, Tree]:
    encoded, sources, embedding = given
    return network.apply(
      variables,
      encoded,
      sources,
      ids,
      ids,
      enable_dropout=False,
      inputs_embedding=embedding,
      decode=True,
      max_decode_length=starts.shape[1],
      mutable=['cache', *more],
      method=network.decode,
    )

  # The network creates its cache in the first call. The shapes of that call are
  # enough, and nothing is computed for them.
  _, created = jax.eval_shape(decode, {'params': params}, given, starts)
  cache = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), created['cache'])
  # What depends on the inputs alone is computed once, in a step of its own, of
  # which nothing else is used. The K sequences of an example share it.
  _, made = decode({'params': params}, given, starts[:, :1], network.ENCODED)
  once = {name: x for name, x in made.items() if name == network.ENCODED}
  # The decoding function repeats the cache itself.
  given = jax.tree.map(lambda x: jnp.repeat(x, num_decodes, axis=0), given)

  def tokens_to_logits(ids: Array, cache: Tree) -> tuple[Array, Tree]:
    variables = {'params': params, 'cache': cache, **once}
    logits, updated = decode(variables, given, ids)
    return logits[:, 0], updated['cache']

  return cache, tokens_to_logits
