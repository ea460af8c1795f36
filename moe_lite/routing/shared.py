"""One routing decision for all adapters of a layer, or of a whole stack."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import ADAPTER_SUFFIX, Array
from moe_lite.routing.context import Context
from moe_lite.routing.learned import SoftRouter
from moe_lite.routing.router import BaseRouter, RouterFactory


class Decision(nn.Module):
  """Decides once, for all adapters inside a layer or inside a stack.

  It reads the input of that layer or stack. The input is first scaled to a root
  mean square of one, as a layer norm does it. The adapters inside take the
  decision through `SharedRouter`.

  Attributes:
    num_experts: the number of experts, E. All adapters inside must have it too.
    router: builds the router that decides.
  """

  num_experts: int = 10
  router: RouterFactory = SoftRouter

  def __post_init__(self):
    made = self.router(num_experts=self.num_experts, parent=None)
    if 'shared' in made.needs:
      raise UserError(
        f'SHARED_ROUTER = {type(made).__name__} cannot make a decision, '
        'because it takes one: give a router that decides, such as '
        '@routing.SoftRouter.'
      )
    if not made.normalized:
      raise UserError(
        f'{type(made).__name__} with RENORMALIZE = False cannot be shared, '
        'because its weights do not sum to one: give RENORMALIZE = True.'
      )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    """The fields of `Context` that the deciding router reads."""
    return self.router(num_experts=self.num_experts, parent=None).needs

  @property
  def num_tasks(self) -> int | None:
    """How many tasks the deciding router tells apart; None if it does not."""
    made = self.router(num_experts=self.num_experts, parent=None)
    return made.num_tasks

  def cannot_begin(self, source: 'Decision', why: str) -> UserError:
    """The error for a decision that cannot do what another one did.

    Args:
      source: the decision that this one was to begin from.
      why: the reason, as a sentence.
    """
    return UserError(
      f'INITIAL_ADAPTERS has a decision over {source.num_experts} experts, and '
      f'this run one over {self.num_experts}, which cannot begin from it. {why}'
    )

  @nn.compact
  def __call__(self, *positions: tuple[Context, Array]) -> list[Context]:
    """Decides for one or more groups of positions.

    Statistics are sown for the first group alone.

    Args:
      *positions: for each group the context of its positions, and what is read
        there, [B, L, D].

    Returns:
      The contexts in the same order. Their field `shared` holds the decision.
    """
    router = self.router(num_experts=self.num_experts, name='router')
    decided = []
    for i, (context, x) in enumerate(positions):
      square = jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True)
      x = x * jax.lax.rsqrt(square + 1e-6).astype(x.dtype)
      weights = router(x, 'embed', context, is_sown=i == 0)
      decided.append(context.replace(shared=weights))
    return decided


DecisionFactory = Callable[..., Decision]
"""Builds a decision.

It is the class, a `functools.partial` of it, or a gin reference.
"""


def decide(
  decisions: Mapping[str, DecisionFactory],
  where: str,
  *positions: tuple[Context, Array],
) -> list[Context]:
  """Makes the decision that belongs at a place, and puts it into the contexts.

  Call this in a compact method. The module of that method then owns the
  parameters of the decision.

  Args:
    decisions: from a place to what builds the decision there.
    where: the place, 'layer' or 'stack'.
    *positions: for each group of positions its context, and what is read there,
      [B, L, D].

  Returns:
    The contexts in the same order. They are unchanged where `decisions` has
    nothing at this place.
  """
  factory = decisions.get(where)
  if factory is None:
    return [context for context, _ in positions]
  return factory(name=where + ADAPTER_SUFFIX)(*positions)


class SharedRouter(BaseRouter):
  """Takes the weights that the `Decision` of its layer or stack made."""

  shares_among_copies = True

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'shared'})

  def __call__(
    self, x: Array, axis: str, context: Context, is_sown: bool = True
  ) -> Array:
    """Returns the shared weights. It reads no tensor and sows nothing."""
    weights = self._given(context, 'shared')
    if weights.shape[-1] != self.num_experts:
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts} at a site, but the decision that it '
        f'shares is over {weights.shape[-1]} experts: the two must be equal.'
      )
    return weights
