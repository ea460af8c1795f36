"""MoV: a routed mixture of (IA)³ vectors.

Source: Zadouri et al., arXiv 2309.05444, section 2.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import Adapter, check_router_reads
from moe_lite.adapters.growing import copies, more_experts
from moe_lite.adapters.ia3 import IA3
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.matmuls import widen
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter
from moe_lite.routing.router import RouterFactory


class MoV(Adapter):
  """Computes `outputs * sum_e p_e scale_e`. The weights p come from a router.

  Leaves:
    * `scale`: [E, *out_axes], all ones at initialisation.
    * `router/kernel`: the kernel of the router, if it learns one.

  Attributes:
    num_experts: the number of experts, E.
    router: builds the router.
    router_reads: the tensor that the router reads. 'outputs' is what the
      paper's released code does: in attention, the router reads the projected
      key or value of each token and head, with one [K, E] kernel for all heads.
      'inputs' is the equation of the paper: each token is routed once, by what
      the layer read.

  Note: the mixture is computed as `scale_0 + sum_e p_e (scale_e - scale_0)`,
  which is equal if p sums to one. While the experts are equal, every term of
  this sum is exactly zero. The adapter is then the identity at initialisation,
  or the (IA)³ that it began from, bit for bit, which it would not be with a
  rounded sum of p. In bfloat16 the small learned differences also keep all
  their bits, because 1 is subtracted from `scale_0` before it is rounded.
  """

  num_experts: int = 10
  router: RouterFactory = SoftRouter
  router_reads: str = 'outputs'

  def __post_init__(self):
    check_router_reads(self.router_reads)
    made = self.router(num_experts=self.num_experts, parent=None)
    if made.for_pairs or made.splits > 1:
      raise UserError(
        f'{type(made).__name__} routes pairs of matrices, and MoV has vectors: '
        'give methods/molora.gin, or another routers/ file.'
      )
    super().__post_init__()

  def expert_products(self, params: Mapping[str, Array]) -> Array:
    """Returns the inner products of `scale_e - 1`, [E, E]."""
    difference = params['scale'] - 1.0
    difference = difference.reshape(len(difference), -1)
    return difference @ difference.T

  def begin_from(
    self, source: Adapter, params: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Begins from (IA)³ by copies of its vector, or from fewer experts."""
    if isinstance(source, IA3):
      return copies(self, source, params)
    super().begin_from(source, params)
    return more_experts(self, source, params)

  @nn.compact
  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    reads_outputs = self.router_reads == 'outputs'
    x = outputs if reads_outputs else inputs
    axes = self.site.out_axes if reads_outputs else self.site.in_axes
    router = self.router(num_experts=self.num_experts, name='router')
    weights = router(x, axes[-1], context)
    scale = partitioning.param(
      self,
      'scale',
      nn.initializers.ones,
      (self.num_experts, *self.out_shape(outputs)),
      jnp.float32,
      ('expert', *self.site.out_axes),
    )
    first = jax.lax.stop_gradient(scale[0])
    difference = (scale - first).astype(outputs.dtype)
    p = weights.astype(outputs.dtype)
    if len(self.site.out_axes) == 1:
      mixture = widen(p, difference)
    elif weights.ndim == outputs.ndim:
      mixture = jnp.einsum('blhe,ehk->blhk', p, difference)
    else:
      mixture = jnp.einsum('ble,ehk->blhk', p, difference)
    if router.normalized:
      mixture = (first - 1.0).astype(outputs.dtype) + mixture
      return outputs + outputs * mixture
    kept = p.sum(-1, keepdims=True)
    kept = kept.reshape(kept.shape + (1,) * (outputs.ndim - kept.ndim))
    return outputs * (kept * first.astype(outputs.dtype) + mixture)
