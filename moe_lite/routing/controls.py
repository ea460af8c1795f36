"""Routers that learn nothing. They are controls for the routers that learn."""

import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.router import NEVER, BaseRouter, is_whole


class UniformRouter(BaseRouter):
  """A control in which every expert has the same weight, 1 / E."""

  shares_among_copies = True

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    return jnp.zeros((len(x), 1, self.num_experts), jnp.float32)


class HashRouter(BaseRouter):
  """A control in which the id of a token alone chooses its one expert.

  The expert is a fixed random function of the id. The function is the same at
  all sites and in all layers. At a position of the decoder, the id is that of
  the token that the decoder reads, and not of the token that it predicts.

  Source: Hash Layers, Roller et al., arXiv 2106.04426, with random hashing.

  Attributes:
    seed: selects the function. Another seed gives another function.
  """

  seed: int = 0

  def __post_init__(self):
    if not is_whole(self.seed):
      raise UserError(f'HASH_SEED = {self.seed!r} must be a whole number.')
    super().__post_init__()

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({'tokens'})

  def logits(self, x: Array, axis: str, context: Context) -> Array:
    tokens = self._given(context, 'tokens')
    # Knuth's multiplicative hash, then MurmurHash3's finalizer, which mixes the
    # high bits into the low ones that the remainder below depends on.
    h = (tokens.astype(jnp.uint32) + 1) * jnp.uint32(2654435761)
    h = h ^ jnp.uint32(self.seed * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
      h = (h ^ (h >> shift)) * jnp.uint32(factor)
    expert = (h ^ (h >> 16)) % self.num_experts
    is_chosen = jax.nn.one_hot(expert, self.num_experts, dtype=bool)
    return jnp.where(is_chosen, 0.0, NEVER)
