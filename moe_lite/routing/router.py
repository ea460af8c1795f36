"""What every router has: weights over experts, and what is sown of them."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeGuard

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Axes, Shape
from moe_lite.routing.context import Context

STATISTICS = 'routing'
# The same of every token apart, for whoever looks at single sentences.
TOKEN_STATISTICS = 'routing_tokens'
# A logit whose probability is zero. Not infinite: 0 times it is 0.
NEVER = -1e9


class BaseRouter(nn.Module):
  """Weights over experts, of any origin, and what is sown of them.

  Attributes:
    num_experts: E.
  """

  num_experts: int

  # Whether the weights of a token sum to one whatever the kernel. Adapters
  # then stay the identity at initialisation.
  normalized = True
  # Fields that later versions added. Descriptions leave them out where they
  # have their defaults, and so stay equal to those that were written before.
  later_fields: ClassVar[tuple[str, ...]] = ()

  def __post_init__(self):
    if not (is_whole(self.num_experts) and self.num_experts >= 1):
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts!r}: a router needs at least one '
        'expert.'
      )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    """Fields of the context, beside the mask, that are to be there."""
    return frozenset()

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    """Float32 `[B, L, ..., E]`; 1 in the place of L if all positions agree."""
    raise NotImplementedError

  def select(self, probabilities: Array) -> Array:
    """Maps probabilities `[..., E]` to the weights with which experts mix."""
    return probabilities

  @nn.compact
  def __call__(
    self, x: Array, axis: str, context: Context, is_sown: bool = True
  ) -> Array:
    """Returns weights `[..., E]`, float32, for `x: [B, L, ..., features]`.

    Args:
      x: what is read; leading axes are batch and length, and any axes between
        them and the features are routed separately (heads, for MoV).
      axis: logical name of the features' axis.
      context: padding mask for the statistics, and what the router `needs`.
      is_sown: whether statistics are sown where they are asked for.

    Returns:
      One for each of x's vectors, or [B, L, E] for all of a position's, or
      [B, 1, E] for all of a row's.
    """
    logits = self.logits(x, axis, context)
    probabilities = jax.nn.softmax(logits)
    weights = self.select(probabilities)
    is_sown = is_sown and not self.is_initializing()
    if is_sown and self.is_mutable_collection(STATISTICS):
      self._sow_statistics(x.shape[:2], logits, probabilities, weights, context)
    if is_sown and self.is_mutable_collection(TOKEN_STATISTICS):
      # Both [B, L, ..., E]: what the router says, and what mixes.
      for name, p in (('probability', probabilities), ('weight', weights)):
        p = jnp.broadcast_to(p, (*x.shape[:2], *p.shape[2:]))
        self.sow(TOKEN_STATISTICS, name, p, reduce_fn=_replace)
    return weights

  def _given(self, context: Context, field: str) -> Array:
    """A field of the context, which is to be there."""
    value = getattr(context, field)
    if value is None:
      raise ValueError(
        f'{type(self).__name__} needs {field!r} of its context, and nothing '
        'said so: an adapter whose router is in no field `router` has to name '
        'it in `needs`.'
      )
    return value

  def _sow_statistics(
    self,
    shape: Shape,
    logits: Array,
    probabilities: Array,
    weights: Array,
    context: Context,
  ) -> None:
    """Sows sums over each example's tokens; heads and the like are averaged.

    `probability` [B, E]; `weight` [B, E], with which the experts mix; `load`
    [B, E], how many tokens use the expert; `first` [B, E], of how many it is
    the likeliest; `square_logsumexp` [B]; `entropy` [B], of a token's
    probabilities, nats; `tokens` [B]. Sums rather than means, so that they add
    up over microbatches and hosts.
    """
    mask = jnp.ones(shape) if context.mask is None else context.mask
    mask = mask.astype(jnp.float32)

    def total(x: Array, keep: Axes) -> Array:
      # Masked positions are selected away, not multiplied: 0 * inf is NaN.
      inner = tuple(range(2, x.ndim - len(keep)))
      x = x.mean(inner)
      seen = mask.reshape(mask.shape + (1,) * len(keep)) > 0
      return jnp.where(seen, x, 0.0).sum(1)

    log_z = jax.nn.logsumexp(logits, axis=-1)
    likeliest = jax.nn.one_hot(probabilities.argmax(-1), self.num_experts)
    sums = {
      'probability': total(probabilities, ('expert',)),
      'weight': total(weights, ('expert',)),
      'load': total((weights > 0).astype(jnp.float32), ('expert',)),
      'first': total(likeliest, ('expert',)),
      'square_logsumexp': total(jnp.square(log_z), ()),
      # From logits, whose gradient is finite also where a probability is 0.
      'entropy': total(log_z - (probabilities * logits).sum(-1), ()),
      'tokens': mask.sum(1),
    }
    for name, value in sums.items():
      self.sow(STATISTICS, name, value, reduce_fn=_replace)


def is_number(value: Any) -> TypeGuard[float]:
  """Whether it is a number; True and False are none."""
  return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
  """Whether it is an int, and no bool."""
  return isinstance(value, int) and not isinstance(value, bool)


RouterFactory = Callable[..., BaseRouter]


def _replace(old: Any, new: Array) -> Any:
  return new
