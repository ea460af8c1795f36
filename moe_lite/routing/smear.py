"""SMEAR's router: one decision for each example, at every site anew."""

import jax
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter, standardised


class SmearRouter(SoftRouter):
  """Routes each example by the mean of what the site reads of it.

  In the encoder, the mean is over all tokens of the example, without padding.
  The decoder may not see later positions. Its sites route by the mean of what
  the encoder wrote. The mean passes a layer norm, whose learned scale is a part
  of the kernel here, and whose learned bias is a part of the router's bias.

  SMEAR averages the parameters of the experts: bind `adapters.MoLoRA.averages`.
  For vectors this is the same as a mixture of their outputs.

  Source: Muqeeth et al., arXiv 2306.03745, section 3. Its released code also
  averages padding.

  Leaves:
    * `kernel`: [features, E].
    * `bias`: [E], zero at first.
  """

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'example', 'sentence_encoded'})

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    if context.example is None:
      x, axis = self._given(context, 'sentence_encoded'), 'embed'
    else:
      x = _mean(x, context.example)
    bias = partitioning.param(
      self,
      'bias',
      jax.nn.initializers.zeros,
      (self.num_experts,),
      jnp.float32,
      ('expert',),
    )
    return super().logits(standardised(x), axis, context) + bias


def _mean(x: Array, example: Array) -> Array:
  """Averages [B, L, ...] over the positions of each example, [B, Q, ...]."""
  share = example / jnp.maximum(example.sum(-1, keepdims=True), 1)
  return jnp.einsum(
    'bql,bl...->bq...',
    share.astype(x.dtype),
    x,
    preferred_element_type=jnp.float32,
  ).astype(x.dtype)
