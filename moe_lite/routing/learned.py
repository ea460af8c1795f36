"""Routers that learn a linear projection of the vectors that they read."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.features import INPUTS_EMBEDDING
from moe_lite.core.matmuls import narrow
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context
from moe_lite.routing.router import NEVER, BaseRouter, is_number, is_whole

SENTENCES = (None, 'inputs', 'encoded', 'feature')
"""The values that `Router.sentence` may have."""
ROUTER_RNG = 'router'
"""The random stream that jitter and dropout of routers draw from.

It is separate from Flax's stream 'dropout'.
"""


class Router(BaseRouter):
  """Projects what it reads to logits. Subclasses say which experts are kept.

  Jitter and the two dropouts draw from the random stream 'router'. Training
  gives that stream and evaluation does not, so at evaluation nothing is random.

  Attributes:
    jitter: the router's input is multiplied by uniform draws from [1 - jitter,
      1 + jitter] (Switch Transformer, arXiv 2101.03961, section 2.2).
    kernel_init: draws the initial kernel, [features, E].
    temperature: divides the logits. Values below 1 make the weights of a
      token's experts differ more, and values above 1 make them differ less.
    dropout: the share of the input's features that are hidden from the router.
      The other features are multiplied by 1 / (1 - dropout).
    expert_dropout: the probability with which an expert is dropped from a row.
      The row's remaining experts share its probability. If all experts of a row
      would be dropped, it keeps all of them.
    sentence: selects what the router reads. None: each token by itself.
      'inputs': the mean of the frozen embeddings of the example's input. One
      decision then serves the whole example. 'encoded': the mean of what the
      encoder wrote; in the encoder itself it is the same as 'inputs'.
      'feature': the feature `inputs_embedding` of the data set.
    sentence_size: the size of that feature, F. It is None unless `sentence` is
      'feature'.
  """

  jitter: float = 0.0
  kernel_init: Initializer = nn.initializers.normal(0.02)
  temperature: float = 1.0
  dropout: float = 0.0
  expert_dropout: float = 0.0
  sentence: str | None = None
  sentence_size: int | None = None

  later_fields = (
    'temperature',
    'dropout',
    'expert_dropout',
    'sentence',
    'sentence_size',
  )

  def __post_init__(self):
    for macro, share in {
      'jitter': self.jitter,
      'ROUTER_DROPOUT': self.dropout,
      'EXPERT_DROPOUT': self.expert_dropout,
    }.items():
      if not (is_number(share) and 0 <= share < 1):
        raise UserError(f'{macro} = {share!r} must be a number in [0, 1).')
    check_temperature(self.temperature)
    if self.sentence not in SENTENCES:
      raise UserError(
        f'SENTENCE = {self.sentence!r} must be one of {SENTENCES}.'
      )
    size = self.sentence_size
    has_size = is_whole(size) and size > 0
    if has_size != (self.sentence == 'feature') or (size and not has_size):
      raise UserError(
        f'SENTENCE = {self.sentence!r} and SENTENCE_SIZE = '
        f"{size!r}: with 'feature', SENTENCE_SIZE must be the size of the "
        f'feature {INPUTS_EMBEDDING!r}, a positive whole number. Otherwise it '
        'must be None.'
      )
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    return frozenset(
      [] if self.sentence is None else [f'sentence_{self.sentence}']
    )

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    if self.sentence == 'feature':
      x, axis = self._feature(context).astype(x.dtype), 'embed'
    elif self.sentence is not None:
      x, axis = self._given(context, f'sentence_{self.sentence}'), 'embed'
    is_random = self.has_rng(ROUTER_RNG)
    if self.jitter and is_random:
      noise = jax.random.uniform(
        self.make_rng(ROUTER_RNG),
        x.shape,
        x.dtype,
        1 - self.jitter,
        1 + self.jitter,
      )
      x = x * noise
    if self.dropout and is_random:
      keep = 1 - self.dropout
      is_kept = jax.random.bernoulli(self.make_rng(ROUTER_RNG), keep, x.shape)
      x = jnp.where(is_kept, x / keep, 0)
    kernel = partitioning.param(
      self,
      'kernel',
      self.kernel_init,
      (x.shape[-1], self.num_experts),
      jnp.float32,
      (axis, 'expert'),
    )
    # The operands stay in the activations' type; their sum is float32.
    # A float32 copy of the activations would cost more than the router itself.
    logits = narrow(x, kernel.astype(x.dtype), jnp.float32)
    if self.temperature != 1:
      logits = logits / self.temperature
    if self.expert_dropout and is_random:
      logits = self._drop_experts(logits)
    return logits

  def _feature(self, context: Context) -> Array:
    """Returns the data set's feature, [B, 1, F], and checks its size."""
    assert self.sentence_size is not None
    x = context.sentence_feature
    if x is None and self.is_initializing():
      # Parameters are drawn without a batch, so the feature is not there yet.
      return jnp.zeros((1, 1, self.sentence_size))
    if x is None or x.shape[-1] != self.sentence_size:
      raise UserError(
        f"SENTENCE = 'feature' routes by the feature {INPUTS_EMBEDDING!r}, "
        f'SENTENCE_SIZE = {self.sentence_size} numbers for each example, but '
        + (
          'this batch does not have the feature'
          if x is None
          else f'here it has {x.shape[-1]} numbers'
        )
        + '. Give a task with this feature, TASK_FEATURE_LENGTHS with '
        f'{INPUTS_EMBEDDING!r}: {self.sentence_size}, and PACKING = False.'
      )
    return x

  def _drop_experts(self, logits: Array) -> Array:
    """Drops experts, for all positions of a row alike."""
    shape = (len(logits), *[1] * (logits.ndim - 2), self.num_experts)
    is_kept = jax.random.bernoulli(
      self.make_rng(ROUTER_RNG), 1 - self.expert_dropout, shape
    )
    is_kept |= ~is_kept.any(-1, keepdims=True)
    return jnp.where(is_kept, logits, NEVER)


class SoftRouter(Router):
  """Mixes all experts, each with its probability as weight (soft merging)."""

  shares_among_copies = True


class TopKRouter(Router):
  """Mixes only the k likeliest experts of a token.

  Attributes:
    k: the number of experts that a token keeps.
    renormalize: whether the probabilities of the kept experts are divided by
      their sum. False reproduces the paper's released code. The weights then
      sum to less than one, so a MoV shrinks the base's activations from the
      first step on.

  Note: if k = 1, the renormalised weight is p / p = 1. Its gradient is zero, so
  the router would never train. For k = 1 the divisor is therefore treated as a
  constant. The weight is still 1, and its gradient is that of log p.
  """

  k: int = 2
  renormalize: bool = True

  @property
  def normalized(self) -> bool:
    return self.renormalize

  def __post_init__(self):
    if not (is_whole(self.k) and 1 <= self.k <= self.num_experts):
      raise UserError(
        f'TOP_K = {self.k!r} must be a whole number from 1 to NUM_EXPERTS = '
        f'{self.num_experts}.'
      )
    super().__post_init__()

  def select(self, probabilities: Array) -> Array:
    return select_top_k(probabilities, self.k, self.renormalize)


def check_temperature(temperature: float) -> None:
  """Raises UserError unless a temperature is a positive number."""
  if not (is_number(temperature) and 0 < temperature < math.inf):
    raise UserError(
      f'ROUTER_TEMPERATURE = {temperature!r} must be a positive number.'
    )


def select_top_k(
  probabilities: Array, k: int, renormalize: bool = True
) -> Array:
  """Keeps the k greatest probabilities [..., E]; see `TopKRouter`."""
  _, kept = jax.lax.top_k(probabilities, k)
  is_kept = jax.nn.one_hot(kept, probabilities.shape[-1]).sum(-2)
  weights = probabilities * is_kept
  if not renormalize:
    return weights
  kept_mass = weights.sum(-1, keepdims=True)
  return weights / (jax.lax.stop_gradient(kept_mass) if k == 1 else kept_mass)


def standardised(x: Array) -> Array:
  """Layer norm over the last axis without parameters, in the type of `x`."""
  wide = x.astype(jnp.float32)
  mean = wide.mean(-1, keepdims=True)
  variance = jnp.square(wide - mean).mean(-1, keepdims=True)
  return ((wide - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(x.dtype)
