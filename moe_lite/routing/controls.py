"""Routers that learn nothing, to hold others against."""

import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array
from moe_lite.routing.context import Context
from moe_lite.routing.router import NEVER, BaseRouter, is_whole


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

  def __post_init__(self):
    if not is_whole(self.seed):
      raise UserError(f'HASH_SEED = {self.seed!r} must be a whole number.')
    super().__post_init__()

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
    return jnp.where(is_chosen, 0.0, NEVER)
