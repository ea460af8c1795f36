"""One decision for all adapters of a layer, or of a stack."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.parameters import ADAPTER_SUFFIX
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter
from moe_lite.routing.router import BaseRouter, RouterFactory


class Decision(nn.Module):
  """Routes what a layer, or a stack, reads, for all routers within.

  What it reads is scaled to a root mean square of one, as layer norms do it.

  Attributes:
    num_experts: E, as all adapters within have it.
    router: builds the router that decides.
  """

  num_experts: int = 10
  router: RouterFactory = SoftRouter

  def __post_init__(self):
    made = self.router(num_experts=self.num_experts, parent=None)
    if 'shared' in made.needs:
      raise UserError(
        f'SHARED_ROUTER = {type(made).__name__} decides nothing: give one that '
        'does, such as @routing.SoftRouter.'
      )
    if not made.normalized:
      raise UserError(
        f'{type(made).__name__} with RENORMALIZE = False cannot be shared: its '
        'weights do not sum to one.'
      )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    """As of routers."""
    return self.router(num_experts=self.num_experts, parent=None).needs

  @nn.compact
  def __call__(self, *positions: tuple[Context, Array]) -> list[Context]:
    """Decides for some positions; statistics are of the first alone.

    Args:
      *positions: contexts, and what is read there, [B, L, D].

    Returns:
      The contexts, with `shared`.
    """
    router = self.router(num_experts=self.num_experts, name='router')
    decided = []
    for i, (context, x) in enumerate(positions):
      square = jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True)
      x = x * jax.lax.rsqrt(square + 1e-6).astype(x.dtype)
      weights = router(x, 'embed', context, is_sown=i == 0)
      decided.append(context.replace(shared=weights))
    return decided


# Builds a decision: a class, a `functools.partial` of it, or a gin reference.
DecisionFactory = Callable[..., Decision]


def decide(
  decisions: Mapping[str, DecisionFactory],
  where: str,
  *positions: tuple[Context, Array],
) -> list[Context]:
  """Returns contexts that hold what is decided at a place, if anything is.

  Called within a compact method, whose module then owns what decides.

  Args:
    decisions: what to build, by the place where it stands.
    where: the place, 'layer' or 'stack'.
    *positions: contexts, each with what is read there, [B, L, D].
  """
  factory = decisions.get(where)
  if factory is None:
    return [context for context, _ in positions]
  return factory(name=where + ADAPTER_SUFFIX)(*positions)


class SharedRouter(BaseRouter):
  """Takes what a `Decision` of its layer or stack decided."""

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'shared'})

  def __call__(
    self, x: Array, axis: str, context: Context, is_sown: bool = True
  ) -> Array:
    """The decision; the tensor is not read, and nothing is sown."""
    weights = self._given(context, 'shared')
    if weights.shape[-1] != self.num_experts:
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts} at a site, but the decision that it '
        f'shares is over {weights.shape[-1]}: they must be equal.'
      )
    return weights
