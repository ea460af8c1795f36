"""How one expert begins from all experts of a mixture: it is their merge."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.adapters import merging
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.core.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Merging:
  """How experts are merged into one.

  Attributes:
    method: one of `merging.METHODS`.
    density: the share of numbers that is kept; None takes the method's own.
    weights: the weight of each expert; None gives all the same.
    on: 'product' merges the products `a b` of pairs, 'factors' merges `a` and
      `b` apart. Vectors are neither.
    seed: the seed of what is drawn.
  """

  method: str = 'mean'
  density: float | None = None
  weights: Sequence[float] | None = None
  on: str = 'product'
  seed: int = 0

  def __post_init__(self):
    """Raises UserError for an unknown method."""
    if self.method not in merging.METHODS:
      raise UserError(
        f'{self.method!r} is not a way to merge experts: give one of '
        f'{", ".join(merging.METHODS)}.'
        f'{nearest(self.method, merging.METHODS)}'
      )

  def random(self) -> np.random.Generator:
    """What draws, at one site after another."""
    return np.random.default_rng(self.seed)


def merged(
  adapter: Any,
  source: Any,
  params: Mapping[str, np.ndarray],
  how: Merging,
  random: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Returns the parameters of one expert that is the merge of several.

  Args:
    adapter: the expert that begins, (IA)³ or LoRA.
    source: the mixture at its site, MoV or MoLoRA.
    params: the parameters of the mixture.
    how: how its experts are merged.
    random: draws, for methods that do.

  Raises:
    UserError: if such experts cannot be merged into this adapter.
  """
  options = {
    'weights': how.weights,
    'method': how.method,
    'density': how.density,
    'seed': random,
  }
  if isinstance(adapter, IA3) and isinstance(source, MoV):
    return {'scale': merging.merged_vectors(params['scale'], **options)}
  if isinstance(adapter, LoRA) and isinstance(source, MoLoRA):
    a, b = merging.merged_pairs(
      params['a'],
      params['b'],
      source.alpha / source.rank,
      rank=adapter.rank,
      on=how.on,
      scale_after=adapter.alpha / adapter.rank,
      **options,
    )
    return {'a': a, 'b': b}
  raise adapter.cannot_begin(
    source, 'MERGE makes (IA)³ of MoV, and LoRA of MoLoRA.'
  )
