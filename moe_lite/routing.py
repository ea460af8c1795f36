"""Routers: which experts a token uses, and with what weight.

A router maps what it reads to weights over experts, and returns nothing else.
Its statistics are sown into the collection `routing`, from which the model
makes auxiliary losses, metrics and reports; where nobody asks for that
collection, nothing is computed for it.

Source: Zadouri et al., arXiv 2309.05444, section 2: `s = softmax(W_g^T x)`,
without bias, in float32.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.traverse_util import flatten_dict

from moe_lite import partitioning
from moe_lite.errors import UserError
from moe_lite.matmuls import narrow
from moe_lite.types import Array, Axes, Initializer, Shape, Tree

COLLECTION = 'routing'
# The statistics that have a value for each expert.
OF_EXPERTS = ('probability', 'weight', 'load', 'first')
# The same of every token apart, for whoever looks at single sentences.
TOKENS = 'routing_tokens'
# The feature of a data set that holds a vector of each input.
EMBEDDING = 'inputs_embedding'
# What `Router.sentence` may be.
SENTENCES = (None, 'inputs', 'encoded', 'feature')
# A logit whose probability is zero. Not infinite: 0 times it is 0.
_NEVER = -1e9
# The random stream that jitter and dropout draw from, beside Flax's 'dropout'.
RNG = 'router'


class Context(struct.PyTreeNode):
  """What a router needs beyond the tensor that it reads.

  Attributes:
    mask: bool [B, L], true where there is a token, false where padding; None
      when every position counts.
    tokens: int32 [B, L], ids; None unless a router `needs` them.
    sentence_inputs: [B, 1, D], or [B, L, D] of packed rows: `sentence` of the
      frozen embeddings of the input that a position belongs to; None unless
      needed.
    sentence_encoded: the same of what the encoder wrote; in the encoder, where
      that is yet to come, equal to `sentence_inputs`.
    sentence_feature: [B, 1, F], the data set's feature `inputs_embedding`; None
      unless needed and there.
  """

  mask: Array | None = None
  tokens: Array | None = None
  sentence_inputs: Array | None = None
  sentence_encoded: Array | None = None
  sentence_feature: Array | None = None


def sentence(x: Array, mask: Array) -> Array:
  """Mean vectors of whole inputs, scaled to a root mean square of one.

  A sum of embeddings is as large as the base's embeddings happen to be, and a
  router's logits with it; scaled, it is as large as what layer norms write.

  Args:
    x: [B, S, D].
    mask: bool [B, Q, S], which positions make up the input of each of Q.

  Returns:
    [B, Q, D], in x's dtype; zero where the mask has nothing.
  """
  share = mask / jnp.maximum(mask.sum(-1, keepdims=True), 1)
  mean = jnp.einsum(
    'bqs,bsd->bqd',
    share.astype(x.dtype),
    x,
    preferred_element_type=jnp.float32,
  )
  scale = jax.lax.rsqrt(jnp.square(mean).mean(-1, keepdims=True) + 1e-6)
  return (mean * scale).astype(x.dtype)


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
    if self.num_experts < 1:
      raise UserError(
        f'NUM_EXPERTS = {self.num_experts}: a router needs at least one expert.'
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
  def __call__(self, x: Array, axis: str, context: Context) -> Array:
    """Returns weights `[..., E]`, float32, for `x: [B, L, ..., features]`.

    Args:
      x: what is read; leading axes are batch and length, and any axes between
        them and the features are routed separately (heads, for MoV).
      axis: logical name of the features' axis.
      context: padding mask for the statistics, and what the router `needs`.

    Returns:
      One for each of x's vectors, or [B, L, E] for all of a position's, or
      [B, 1, E] for all of a row's.
    """
    logits = self.logits(x, axis, context)
    probabilities = jax.nn.softmax(logits)
    weights = self.select(probabilities)
    if self.is_mutable_collection(COLLECTION) and not self.is_initializing():
      self._sow_statistics(x.shape[:2], logits, probabilities, weights, context)
    if self.is_mutable_collection(TOKENS) and not self.is_initializing():
      # Both [B, L, ..., E]: what the router says, and what mixes.
      for name, p in (('probability', probabilities), ('weight', weights)):
        p = jnp.broadcast_to(p, (*x.shape[:2], *p.shape[2:]))
        self.sow(TOKENS, name, p, reduce_fn=_replace)
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
      self.sow(COLLECTION, name, value, reduce_fn=_replace)


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
      if not 0 <= share < 1:
        raise UserError(f'{macro} = {share} must lie in [0, 1).')
    if not 0 < self.temperature < math.inf:
      raise UserError(
        f'ROUTER_TEMPERATURE = {self.temperature} must be a positive number.'
      )
    if self.sentence not in SENTENCES:
      raise UserError(
        f'SENTENCE = {self.sentence!r} must be one of {SENTENCES}.'
      )
    if (self.sentence == 'feature') != isinstance(self.sentence_size, int):
      raise UserError(
        f'SENTENCE = {self.sentence!r} and SENTENCE_SIZE = '
        f"{self.sentence_size!r}: 'feature' needs the size of the feature "
        f'{EMBEDDING!r}, and nothing else has one.'
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
    is_random = self.has_rng(RNG)
    if self.jitter and is_random:
      noise = jax.random.uniform(
        self.make_rng(RNG), x.shape, x.dtype, 1 - self.jitter, 1 + self.jitter
      )
      x = x * noise
    if self.dropout and is_random:
      keep = 1 - self.dropout
      is_kept = jax.random.bernoulli(self.make_rng(RNG), keep, x.shape)
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
        f"SENTENCE = 'feature' routes by the feature {EMBEDDING!r}, "
        f'SENTENCE_SIZE = {self.sentence_size} numbers an example, and '
        + ('there is none here' if x is None else f'here are {x.shape[-1]}')
        + f'. Give a task with it, TASK_FEATURE_LENGTHS with {EMBEDDING!r}: '
        f'{self.sentence_size}, and PACKING = False.'
      )
    return x

  def _drop_experts(self, logits: Array) -> Array:
    shape = (len(logits), *[1] * (logits.ndim - 2), self.num_experts)
    is_kept = jax.random.bernoulli(
      self.make_rng(RNG), 1 - self.expert_dropout, shape
    )
    is_kept |= ~is_kept.any(-1, keepdims=True)
    return jnp.where(is_kept, logits, _NEVER)


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


class UniformRouter(BaseRouter):
  """A control: every expert contributes alike, and nothing is learned."""

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    return jnp.zeros((len(x), 1, self.num_experts), jnp.float32)


class HashRouter(BaseRouter):
  """A control: a token's id alone says which one expert it uses.

  The expert is a fixed random function of the id, the same at all sites and
  layers. Of the decoder it is the id that goes in. Source: Hash Layers, Roller
  et al., arXiv 2106.04426, with random hashing.

  Attributes:
    seed: other seeds, other functions.
  """

  seed: int = 0

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'tokens'})

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    tokens = self._given(context, 'tokens')
    # Knuth's multiplication, and MurmurHash3's finalizer, which spreads it.
    h = (tokens.astype(jnp.uint32) + 1) * jnp.uint32(2654435761)
    h = h ^ jnp.uint32(self.seed * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
      h = (h ^ (h >> shift)) * jnp.uint32(factor)
    expert = (h ^ (h >> 16)) % self.num_experts
    is_chosen = jax.nn.one_hot(expert, self.num_experts, dtype=bool)
    return jnp.where(is_chosen, 0.0, _NEVER)


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


RouterFactory = Callable[..., BaseRouter]


def _replace(old: Any, new: Array) -> Any:
  return new
