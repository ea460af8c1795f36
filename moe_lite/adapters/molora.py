"""MoLoRA: a routed mixture of LoRA pairs, mixed in rank space.

Source: Zadouri et al., arXiv 2309.05444, section 2.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import Adapter, check_router_reads, joined
from moe_lite.adapters.averaged import averaged_update
from moe_lite.adapters.growing import copies, more_experts, with_derived
from moe_lite.adapters.lora import LoRA, check_scale
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.matmuls import narrow, widen
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter
from moe_lite.routing.router import RouterFactory


class MoLoRA(Adapter):
  """Computes `outputs + (alpha / R) * sum_e p_e (inputs a_e) b_e`.

  The weights p come from a router. The axes heads and kv are joined in both
  matrices, as T5X stores kernels.

  Leaves:
    * `a`: [E, in, R].
    * `b`: [E, R, out], zero at initialisation.
    * `router/kernel`: the kernel of the router, if it learns one.

  Attributes:
    num_experts: the number of experts, E.
    rank: the rank of each expert, R.
    alpha: the numerator of the updates' scale, alpha / R.
    router: builds the router.
    router_reads: the tensor that the router reads. 'inputs' is the paper and
      also its released code; 'outputs' is the other choice.
    a_init: draws the initial `a`.
    averages: whether the matrices `a` and `b` are averaged apart, and not their
      products; see `adapters.averaged`.

  Note: the sum over experts is linear in `b`. The weights p can therefore be
  applied to the activations [B, L, E, R], and a single matmul with all of `b`
  finishes the sum. The released code computes the output of every expert,
  [B, L, E, out], which takes out / R times as much memory.

  The sum is computed by differences from the first expert. With h_e for
  `inputs a_e`, and with weights that sum to one, it is

      (h_0 + sum_e p_e (h_e - h_0)) b_0 + sum_e p_e h_e (b_e - b_0)

  The second sum lacks the first expert, so that both terms together are still
  one matmul with E * R columns. While the experts are equal, all differences
  are exactly zero. The mixture is then equal to LoRA bit for bit, if the
  library of matmuls computes a column alike whatever stands beside it. In
  bfloat16 small learned differences keep all their bits.
  """

  num_experts: int = 10
  rank: int = 4
  alpha: float = 16.0
  router: RouterFactory = SoftRouter
  router_reads: str = 'inputs'
  a_init: Initializer = nn.initializers.normal(0.02)
  averages: bool = False

  later_fields = ('averages',)

  def __post_init__(self):
    check_router_reads(self.router_reads)
    if self.rank < 1:
      raise UserError(f'RANK = {self.rank}: MoLoRA needs a rank of at least 1.')
    made = self.router(num_experts=self.num_experts, parent=None)
    if self.averages and not made.normalized:
      raise UserError(
        f'The weights of {type(made).__name__} do not sum to one, so that '
        'matrices cannot be averaged by them: leave out '
        'adapters.MoLoRA.averages.'
      )
    if made.splits > 1 and not self.averages:
      raise UserError(
        f'SPLITS = {made.splits} cuts the features of matrices, which are '
        'averaged apart then: give adapters.MoLoRA.averages = True.'
      )
    super().__post_init__()

  def expert_products(self, params: Mapping[str, Array]) -> Array:
    """Returns the inner products of the matrices `a_e b_e`, [E, E].

    They are computed from the factors. The matrices themselves are not built.
    """
    a, b = params['a'], params['b']
    return jnp.einsum(
      'efrs,efrs->ef',
      jnp.einsum('eir,fis->efrs', a, a),
      jnp.einsum('ero,fso->efrs', b, b),
    )

  def begin_from(
    self, source: Adapter, params: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Begins from LoRA by copies of it, or from fewer experts."""
    if isinstance(source, LoRA):
      taken = copies(self, source, params)
    else:
      super().begin_from(source, params)
      taken = more_experts(self, source, params)
    check_scale(self, source)
    return with_derived(self, taken)

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
    if self.averages or router.is_one_hot:
      for size in (x.shape[-1], y.shape[-1]):
        if size % router.splits:
          raise UserError(
            f'SPLITS = {router.splits} does not divide the {size} features at '
            f'{self.site.name}.'
          )
      scale = self.alpha / self.rank
      return (y + averaged_update(x, a, b, weights, scale)).reshape(
        outputs.shape
      )
    # Two plain matmuls with E * R columns do the work. The transpose of `a`
    # moves weights, which is cheaper than moving activations.
    columns = self.num_experts * self.rank
    a = _from_first(a).swapaxes(0, 1).reshape(x.shape[-1], columns)
    b = _from_first(b).reshape(columns, y.shape[-1])
    apart = narrow(x, a.astype(x.dtype))
    first, apart = apart[..., : self.rank], apart[..., self.rank :]
    # The axis is never split into experts and ranks, because ranks alone would
    # fill a small part of the lanes of a TPU.
    p = jnp.repeat(weights[..., 1:].astype(x.dtype), self.rank, axis=-1)
    every = jnp.tile(first, self.num_experts - 1)
    ranks = p * (every + apart)
    kept = first
    if not router.normalized:
      kept = first * weights.sum(-1, keepdims=True).astype(x.dtype)
    together = jnp.tile(
      jnp.eye(self.rank, dtype=x.dtype), (self.num_experts - 1, 1)
    )
    kept += (p * apart) @ together
    ranks = jnp.concatenate([kept, ranks], -1) * (self.alpha / self.rank)
    return (y + widen(ranks, b.astype(y.dtype))).reshape(outputs.shape)


def _from_first(leaf: Array) -> Array:
  """The first expert of [E, ...], and the others as differences from it."""
  return jnp.concatenate([leaf[:1], leaf[1:] - leaf[:1]])
