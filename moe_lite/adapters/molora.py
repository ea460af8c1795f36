"""MoLoRA: a routed mixture of LoRA pairs, contracted in rank space.

Source: Zadouri et al., arXiv 2309.05444, section 2.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from moe_lite.adapters.adapter import Adapter, check_router_reads, joined
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.matmuls import narrow, widen
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter
from moe_lite.routing.router import RouterFactory


class MoLoRA(Adapter):
  """`outputs + (alpha / R) * sum_e p_e (inputs a_e) b_e`, p from a router.

  Parameters: `a` [E, in, R], `b` [E, R, out] (zero at initialisation), heads
  and kv joined; `router/kernel`.

  Attributes:
    num_experts: E.
    rank: R of each expert.
    alpha: the numerator of the updates' scale.
    router: builds the router.
    router_reads: 'inputs' (the paper, and its released code) or 'outputs'.

  Note: the sum over experts is linear in `b`, so p may weight the activations
  `[B, L, E, R]` and one matmul with all of `b` finishes. The released code
  builds every expert's output, `[B, L, E, out]`: out / R times as much memory.
  """

  num_experts: int = 10
  rank: int = 4
  alpha: float = 16.0
  router: RouterFactory = SoftRouter
  router_reads: str = 'inputs'
  a_init: Initializer = nn.initializers.normal(0.02)

  def __post_init__(self):
    check_router_reads(self.router_reads)
    if self.rank < 1:
      raise UserError(f'RANK = {self.rank}: MoLoRA needs a rank of at least 1.')
    super().__post_init__()

  def expert_products(self, params: Mapping[str, Array]) -> Array:
    """Of the matrices `a_e b_e`, which are not built."""
    a, b = params['a'], params['b']
    return jnp.einsum(
      'efrs,efrs->ef',
      jnp.einsum('eir,fis->efrs', a, a),
      jnp.einsum('ero,fso->efrs', b, b),
    )

  @nn.compact
  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    x, in_axis = joined(inputs, self.site.in_axes)
    y, out_axis = joined(outputs, self.site.out_axes)
    router = self.router(num_experts=self.num_experts, name='router')
    if self.router_reads == 'inputs':
      weights = router(x, in_axis, context)
    else:
      weights = router(y, out_axis, context)
    a = partitioning.param(
      self,
      'a',
      self.a_init,
      (self.num_experts, x.shape[-1], self.rank),
      jnp.float32,
      ('expert', in_axis, 'rank'),
    )
    b = partitioning.param(
      self,
      'b',
      nn.initializers.zeros,
      (self.num_experts, self.rank, y.shape[-1]),
      jnp.float32,
      ('expert', 'rank', out_axis),
    )
    # Two plain matmuls with E * R columns; transposing `a` moves weights, not
    # activations.
    columns = self.num_experts * self.rank
    a = a.swapaxes(0, 1).reshape(x.shape[-1], columns)
    b = b.reshape(columns, y.shape[-1])
    p = (weights * (self.alpha / self.rank)).astype(x.dtype)
    ranks = narrow(x, a.astype(x.dtype)) * jnp.repeat(p, self.rank, axis=-1)
    return (y + widen(ranks, b.astype(y.dtype))).reshape(outputs.shape)
