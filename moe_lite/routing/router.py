"""The base class of routers: weights over experts, and statistics of them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeGuard

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Axes, Shape
from moe_lite.routing.context import Context

STATISTICS = 'routing'
"""The collection of statistics, which are summed over an example's tokens."""
TOKEN_STATISTICS = 'routing_tokens'
"""The collection of what routers decide for every single token.

Tools that look at single sentences read it.
"""
# The name of logits for `jax.checkpoint`'s policies. To compute them again, all
# that the router reads is read again.
ROUTED = 'routed'
# They bear it where what the router reads has so many times their bytes. The
# logits of MoV at heads do not, and would fill the memory.
_LEAST_SAVING = 16
# A logit whose probability is zero. It is finite, because 0 * inf is NaN.
NEVER = -1e9


class BaseRouter(nn.Module):
  """Computes weights over experts, and sows statistics of them.

  A subclass says where the logits come from (`logits`). It may also say which
  experts a token keeps (`select`).

  Attributes:
    num_experts: the number of experts, E.
  """

  num_experts: int

  normalized = True
  """Whether the weights of a token sum to one, whatever the kernel is.

  If they do, an adapter is the identity at initialisation.
  """
  shares_among_copies = False
  """Whether copies of an expert share its probability.

  They are copies if their columns of the kernel are copies too.
  """
  is_one_hot = False
  """Whether a token uses one expert, with the weight 1."""
  for_pairs = False
  """Whether the router suits pairs of matrices alone, and not vectors."""
  prototypes: ClassVar[tuple[str, ...]] = ()
  """The names of leaves that `derived` computes from experts."""
  splits = 1
  """The number of splits of the features that have weights of their own, S.

  With more than one, the weights have the shape [B, L, S, E].
  """
  later_fields: ClassVar[tuple[str, ...]] = ()
  """Fields that later versions added.

  The description of a network leaves such a field out while it has its default.
  The description then stays equal to what earlier versions wrote.
  """

  def __post_init__(self):
    if not (is_whole(self.num_experts) and self.num_experts >= 1):
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts!r}: a router needs at least one '
        'expert.'
      )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    """The fields of `Context`, besides the mask, that this router reads."""
    return frozenset()

  @property
  def num_tasks(self) -> int | None:
    """How many tasks this router tells apart; None if it does not."""
    return None

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    """Returns the logits of the experts, float32 `[B, L, ..., E]`.

    The second dimension may be 1 instead of L. One decision then serves all
    positions of a row. The arguments are those of `__call__`.
    """
    raise NotImplementedError

  def select(self, probabilities: Array) -> Array:
    """Maps probabilities `[..., E]` to the weights that mix the experts."""
    return probabilities

  def weigh(self, logits: Array, probabilities: Array) -> Array:
    """Returns the weights that mix the experts, `[..., E]`."""
    del logits
    return self.select(probabilities)

  def derived(self, experts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Computes leaves of this router from experts, where it can.

    Args:
      experts: the leaves of the experts at a site, such as `a` [E, in, R] and
        `b` [E, R, out].

    Returns:
      The leaves by name. It is empty if the router learns its leaves.

    Raises:
      UserError: if such experts lack what the router needs.
    """
    del experts
    return {}

  @nn.compact
  def __call__(
    self, x: Array, axis: str, context: Context, is_sown: bool = True
  ) -> Array:
    """Returns the weights of the experts.

    Args:
      x: what the router reads, [B, L, ..., features]. Axes between L and the
        features are routed separately, as the heads of MoV are.
      axis: the logical name of the features' axis.
      context: the padding mask, which the statistics use, and the fields that
        this router `needs`.
      is_sown: whether to sow statistics if the caller of `apply` asks for them.

    Returns:
      Float32 weights. [B, L, ..., E] has weights for each vector of `x`,
      [B, L, E] for each position, and [B, 1, E] for each row.
    """
    logits = self.logits(x, axis, context)
    if _LEAST_SAVING * logits.nbytes <= x.nbytes:
      logits = checkpoint_name(logits, ROUTED)
    probabilities = jax.nn.softmax(logits)
    weights = self.weigh(logits, probabilities)
    is_sown = is_sown and not self.is_initializing()
    if is_sown and self.is_mutable_collection(STATISTICS):
      self._sow_statistics(x.shape[:2], logits, probabilities, weights, context)
    if is_sown and self.is_mutable_collection(TOKEN_STATISTICS):
      # Both have the shape [B, L, ..., E]. The first is the router's softmax,
      # the second is what mixes the experts.
      for name, p in (('probability', probabilities), ('weight', weights)):
        p = jnp.broadcast_to(p, (*x.shape[:2], *p.shape[2:]))
        self.sow(TOKEN_STATISTICS, name, p, reduce_fn=_replace)
    return weights

  def _given(self, context: Context, field: str) -> Array:
    """Returns a field of the context; raises ValueError if it is missing."""
    value = getattr(context, field)
    if value is None:
      raise ValueError(
        f'{type(self).__name__} needs {field!r} in its context, and the '
        'network did not put it there. If the adapter holds its router in '
        f'another field than `router`, its `needs` must name {field!r}.'
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
    """Sows sums over the tokens of each example.

    They are sums rather than means, so that they add up over microbatches and
    hosts. Axes between position and expert, such as heads, are averaged.

    * `probability` [B, E]: the probability of each expert.
    * `weight` [B, E]: the weight with which each expert is mixed.
    * `load` [B, E]: how many tokens use the expert.
    * `first` [B, E]: for how many tokens the expert is the likeliest.
    * `square_logsumexp` [B]: the square of the logsumexp of the logits.
    * `entropy` [B]: the entropy of a token's probabilities, in nats.
    * `tokens` [B]: the number of tokens.

    If the context says which task a token belongs to, there are also
    `task_weight` [B, N, E], `task_entropy` [B, N] and `task_tokens` [B, N]:
    the same sums over the tokens of each of N tasks.
    """
    mask = jnp.ones(shape) if context.mask is None else context.mask
    mask = mask.astype(jnp.float32)

    def of_tokens(x: Array, keep: Axes) -> Array:
      # Masked positions are replaced by 0 and not multiplied by it, because
      # 0 * inf is NaN.
      inner = tuple(range(2, x.ndim - len(keep)))
      x = x.mean(inner)
      seen = mask.reshape(mask.shape + (1,) * len(keep)) > 0
      return jnp.where(seen, x, 0.0)

    def total(x: Array, keep: Axes) -> Array:
      return of_tokens(x, keep).sum(1)

    log_z = jax.nn.logsumexp(logits, axis=-1)
    likeliest = jax.nn.one_hot(probabilities.argmax(-1), self.num_experts)
    # It is computed from logits, because their gradient stays finite where a
    # probability is 0.
    entropy = log_z - (probabilities * logits).sum(-1)
    sums = {
      'probability': total(probabilities, ('expert',)),
      'weight': total(weights, ('expert',)),
      'load': total((weights > 0).astype(jnp.float32), ('expert',)),
      'first': total(likeliest, ('expert',)),
      'square_logsumexp': total(jnp.square(log_z), ()),
      'entropy': total(entropy, ()),
      'tokens': mask.sum(1),
    }
    if context.is_of_task is not None:
      of_task = jnp.where(mask[:, :, None] > 0, context.is_of_task, False)
      of_task = of_task.astype(jnp.float32)
      by_task = functools.partial(jnp.einsum, 'bln,bl...->bn...', of_task)
      sums |= {
        'task_weight': by_task(of_tokens(weights, ('expert',))),
        'task_entropy': by_task(of_tokens(entropy, ())),
        'task_tokens': of_task.sum(1),
      }
    for name, value in sums.items():
      self.sow(STATISTICS, name, value, reduce_fn=_replace)


def is_number(value: Any) -> TypeGuard[float]:
  """Whether the value is a number. True and False are not numbers."""
  return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
  """Whether the value is an int and not a bool."""
  return isinstance(value, int) and not isinstance(value, bool)


RouterFactory = Callable[..., BaseRouter]
"""Builds a router: a class, a `functools.partial` of it, or a gin reference.

It is called with `num_experts`, and with `name` or `parent`.
"""


def _replace(old: Any, new: Array) -> Any:
  return new
