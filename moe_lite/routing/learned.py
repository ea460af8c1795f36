"""Routers that learn a projection of what they read."""

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

# What `Router.sentence` may be.
SENTENCES = (None, 'inputs', 'encoded', 'feature')
# The random stream that jitter and dropout draw from, beside Flax's 'dropout'.
ROUTER_RNG = 'router'


class Router(BaseRouter):
  """A learned projection. Subclasses say which experts a token keeps.

  What is random is drawn only where a 'router' random stream is given, so never
  at evaluation.

  Attributes:
    jitter: the input is multiplied by a uniform draw from [1 - jitter,
      1 + jitter] (Switch Transformer, arXiv 2101.03961, section 2.2).
    kernel_init: initial values of the `[features, E]` kernel.
    temperature: logits are divided by it. Below 1 a token's experts differ
      more, above 1 less.
    dropout: the share of the input's features that the router does not see;
      the others grow by 1 / (1 - dropout).
    expert_dropout: the probability with which a row goes without an expert, all
      of whose probability the others then share. A row keeps all of them where
      it would lose all.
    sentence: None reads the tokens. 'inputs' routes once an example, by the
      mean of its input's frozen embeddings, and 'encoded' by the mean of what
      the encoder wrote, which in the encoder itself is 'inputs' again.
      'feature' reads the data set's feature `inputs_embedding`.
    sentence_size: F, of that feature.
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
    if not (is_number(self.temperature) and 0 < self.temperature < math.inf):
      raise UserError(
        f'ROUTER_TEMPERATURE = {self.temperature!r} must be a positive number.'
      )
    if self.sentence not in SENTENCES:
      raise UserError(
        f'SENTENCE = {self.sentence!r} must be one of {SENTENCES}.'
      )
    size = self.sentence_size
    has_size = is_whole(size) and size > 0
    if has_size != (self.sentence == 'feature') or (size and not has_size):
      raise UserError(
        f'SENTENCE = {self.sentence!r} and SENTENCE_SIZE = '
        f"{size!r}: 'feature' needs the size of the feature "
        f'{INPUTS_EMBEDDING!r}, a positive whole number, and nothing else has '
        'one.'
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
    # The product stays in the activations' type, accumulated in float32: a
    # float32 copy of the activations would cost more than the router itself.
    logits = narrow(x, kernel.astype(x.dtype), jnp.float32)
    if self.temperature != 1:
      logits = logits / self.temperature
    if self.expert_dropout and is_random:
      logits = self._drop_experts(logits)
    return logits

  def _feature(self, context: Context) -> Array:
    assert self.sentence_size is not None
    x = context.sentence_feature
    if x is None and self.is_initializing():
      # Parameters are drawn from shapes, without data.
      return jnp.zeros((1, 1, self.sentence_size))
    if x is None or x.shape[-1] != self.sentence_size:
      raise UserError(
        f"SENTENCE = 'feature' routes by the feature {INPUTS_EMBEDDING!r}, "
        f'SENTENCE_SIZE = {self.sentence_size} numbers an example, and '
        + ('there is none here' if x is None else f'here are {x.shape[-1]}')
        + '. Give a task with it, TASK_FEATURE_LENGTHS with '
        f'{INPUTS_EMBEDDING!r}: {self.sentence_size}, and PACKING = False.'
      )
    return x

  def _drop_experts(self, logits: Array) -> Array:
    shape = (len(logits), *[1] * (logits.ndim - 2), self.num_experts)
    is_kept = jax.random.bernoulli(
      self.make_rng(ROUTER_RNG), 1 - self.expert_dropout, shape
    )
    is_kept |= ~is_kept.any(-1, keepdims=True)
    return jnp.where(is_kept, logits, NEVER)


class SoftRouter(Router):
  """Soft merging: every expert contributes with its probability."""


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
    if not (is_whole(self.k) and 1 <= self.k <= self.num_experts):
      raise UserError(
        f'TOP_K = {self.k!r} must lie between 1 and NUM_EXPERTS = '
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
