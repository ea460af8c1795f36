"""Routers: which experts a token uses, and with what weight.

A router maps what it reads to weights over experts, and returns nothing else.
Its statistics are sown into the collection `routing`, from which the model
makes auxiliary losses, metrics and reports; where nobody asks for that
collection, nothing is computed for it.

Source: Zadouri et al., arXiv 2309.05444, section 2: `s = softmax(W_g^T x)`,
without bias, in float32.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.traverse_util import flatten_dict

from moe_lite import partitioning
from moe_lite.errors import UserError
from moe_lite.matmuls import narrow
from moe_lite.types import Array, Axes, Initializer, Tree

COLLECTION = 'routing'
# The statistics that have a value for each expert.
OF_EXPERTS = ('probability', 'weight', 'load', 'first')
# The same of every token apart, for whoever looks at single sentences.
TOKENS = 'routing_tokens'
# The random stream that jitter draws from, beside Flax's 'dropout'.
RNG = 'router'


class Context(struct.PyTreeNode):
  """What a router needs beyond the tensor that it reads.

  Attributes:
    mask: bool [B, L], true where there is a token, false where padding; None
      when every position counts.
  """

  mask: Array | None = None


class Router(nn.Module):
  """Weights over experts. Subclasses say which experts a token keeps.

  Attributes:
    num_experts: E.
    jitter: the input is multiplied by a uniform draw from [1 - jitter,
      1 + jitter], only where a 'router' random stream is given, so never at
      evaluation (Switch Transformer, arXiv 2101.03961, section 2.2).
    kernel_init: initial values of the `[features, E]` kernel.
  """

  num_experts: int
  jitter: float = 0.0
  kernel_init: Initializer = nn.initializers.normal(0.02)

  # Whether the weights of a token sum to one whatever the kernel. Adapters
  # then stay the identity at initialisation.
  normalized = True

  def __post_init__(self):
    if self.num_experts < 1:
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts}: a router needs at least one expert.'
      )
    if not 0 <= self.jitter < 1:
      raise UserError(f'jitter = {self.jitter} must lie in [0, 1).')
    super().__post_init__()

  def select(self, probabilities: Array) -> Array:
    """Maps probabilities `[..., E]` to the weights with which experts mix."""
    raise NotImplementedError

  @nn.compact
  def __call__(self, x: Array, axis: str, context: Context) -> Array:
    """Returns weights `[..., E]`, float32, for `x: [B, L, ..., features]`.

    Args:
      x: what is read; leading axes are batch and length, and any axes between
        them and the features are routed separately (heads, for MoV).
      axis: logical name of the features' axis.
      context: padding mask for the statistics.
    """
    if self.jitter and self.has_rng(RNG):
      noise = jax.random.uniform(
        self.make_rng(RNG), x.shape, x.dtype, 1 - self.jitter, 1 + self.jitter
      )
      x = x * noise
    kernel = partitioning.param(
      self,
      'kernel',
      self.kernel_init,
      (x.shape[-1], self.num_experts),
      jnp.float32,
      (axis, 'expert'),
    )
    # The product stays in the activations' type, accumulated in float32: a
    # float32 copy of the activations would cost more than the router itself.
    logits = narrow(x, kernel.astype(x.dtype), jnp.float32)
    probabilities = jax.nn.softmax(logits)
    weights = self.select(probabilities)
    if self.is_mutable_collection(COLLECTION) and not self.is_initializing():
      self._sow_statistics(logits, probabilities, weights, context)
    if self.is_mutable_collection(TOKENS) and not self.is_initializing():
      # Both [B, L, ..., E]: what the router says, and what mixes.
      self.sow(TOKENS, 'probability', probabilities, reduce_fn=_replace)
      self.sow(TOKENS, 'weight', weights, reduce_fn=_replace)
    return weights

  def _sow_statistics(
    self, logits: Array, probabilities: Array, weights: Array, context: Context
  ) -> None:
    """Sows sums over each example's tokens; heads and the like are averaged.

    `probability` [B, E]; `weight` [B, E], with which the experts mix; `load`
    [B, E], how many tokens use the expert; `first` [B, E], of how many it is
    the likeliest; `square_logsumexp` [B]; `entropy` [B], of a token's
    probabilities, nats; `tokens` [B]. Sums rather than means, so that they add
    up over microbatches and hosts.
    """
    batch, length = logits.shape[:2]
    mask = jnp.ones((batch, length)) if context.mask is None else context.mask
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
      self.sow(COLLECTION, name, value, reduce_fn=_replace)


class SoftRouter(Router):
  """Soft merging: every expert contributes with its probability."""

  def select(self, probabilities: Array) -> Array:
    return probabilities


class TopKRouter(Router):
  """Only the k likeliest experts contribute.

  Attributes:
    k: how many experts a token keeps.
    renormalize: divide the kept probabilities by their sum. False reproduces
      the paper's released code, whose weights then sum to less than one: a
      MoV shrinks the base's activations from the first step on.

  Note: one renormalised expert weighs p / p = 1, whose gradient is zero: its
  router would never train. With k = 1 the divisor therefore counts as a
  constant, which leaves the weight at one and its gradient at that of log p.
  """

  k: int = 2
  renormalize: bool = True

  @property
  def normalized(self) -> bool:
    return self.renormalize

  def __post_init__(self):
    if not 1 <= self.k <= self.num_experts:
      raise UserError(
        f'TOP_K = {self.k} must lie between 1 and NUM_EXPERTS = '
        f'{self.num_experts}.'
      )
    super().__post_init__()

  def select(self, probabilities: Array) -> Array:
    _, kept = jax.lax.top_k(probabilities, self.k)
    is_kept = jax.nn.one_hot(kept, self.num_experts).sum(-2)
    weights = probabilities * is_kept
    if not self.renormalize:
      return weights
    kept_mass = weights.sum(-1, keepdims=True)
    return weights / (
      jax.lax.stop_gradient(kept_mass) if self.k == 1 else kept_mass
    )


def by_router(statistics: Tree) -> dict[str, dict[str, Array]]:
  """The path of a router to what it sowed, as in the collection `routing`."""
  routers: dict[str, dict[str, Array]] = {}
  leaves: dict[str, Any] = flatten_dict(statistics, sep='/')
  for path, leaf in leaves.items():
    router, _, name = path.rpartition('/')
    routers.setdefault(router, {})[name] = leaf
  return routers


def sum_examples(statistics: Mapping[str, Array]) -> dict[str, Array]:
  """One router's statistics, [..., B, E] or [..., B], without the axis B."""
  return {
    name: x.sum(-2 if name in OF_EXPERTS else -1)
    for name, x in statistics.items()
  }


RouterFactory = Callable[..., Router]


def _replace(old: Any, new: Array) -> Any:
  return new
