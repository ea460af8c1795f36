"""Merges experts into one: means, task arithmetic, TIES, DARE, truncated SVD.

All functions are pure and work on NumPy arrays, one leaf or one site at a time.
The steps equal those of PEFT's `utils/merge_utils.py`, which the tests compare.

Sources: task arithmetic, Ilharco et al., arXiv 2212.04089; TIES, Yadav et al.,
arXiv 2306.01708, section 3; DARE, Yu et al., arXiv 2311.03099, section 3.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from moe_lite.adapters import low_rank
from moe_lite.core.errors import UserError, nearest

# A seed, or what draws on from where the last site stopped.
Seed = int | np.random.Generator
Weights = Sequence[float] | np.ndarray

MAJORITY_SIGNS = ('total', 'frequency')
PAIRS = ('product', 'factors')


def trim(delta: np.ndarray, density: float) -> np.ndarray:
  """Sets all but the largest numbers of one expert to zero.

  Args:
    delta: an array of N numbers.
    density: the share that is kept, in (0, 1]. The kept numbers are
      int(density * N) of those with the largest absolute values.

  Raises:
    UserError: if no number would be kept.
  """
  if density >= 1:
    return delta
  kept = int(density * delta.size)
  if not kept:
    raise UserError(
      f'density = {density} keeps none of the {delta.size} numbers of a leaf: '
      f'give at least {1 / delta.size:.2g}.'
    )
  flat = delta.ravel()
  largest = np.argpartition(-np.abs(flat), kept - 1)[:kept]
  trimmed = np.zeros_like(flat)
  trimmed[largest] = flat[largest]
  return trimmed.reshape(delta.shape)


def drop(
  delta: np.ndarray, density: float, random: np.random.Generator
) -> np.ndarray:
  """Sets random numbers of one expert to zero and divides the rest by density.

  The expected value of every number stays as it was. This is DARE's step.
  """
  if density >= 1:
    return delta
  kept = random.random(delta.shape, dtype=np.float32) < density
  return np.where(kept, delta, 0) / delta.dtype.type(density)


def agrees(deltas: np.ndarray, majority_sign: str) -> np.ndarray:
  """Elects a sign for each number and says which experts have it.

  Args:
    deltas: [E, ...].
    majority_sign: 'total' takes the sign of the sum over the experts, as TIES
      does. 'frequency' takes the sign that most experts have. A tie is elected
      positive.

  Returns:
    [E, ...], of booleans. A zero agrees with neither sign.
  """
  signs = np.sign(deltas)
  votes = (deltas if majority_sign == 'total' else signs).sum(0)
  return signs == np.where(votes >= 0, 1, -1)


class Method(NamedTuple):
  """One way to merge.

  Attributes:
    sparsify: makes an expert sparse, or None. It is called with the expert, the
      density and a random generator.
    density: the share of numbers that is kept, if no density is given.
    elects: whether a sign is elected, and each number is divided by how many
      experts have it, as TIES does. Otherwise the experts are added up.
    averages: whether the weights are divided by their sum.
  """

  sparsify: Callable[..., np.ndarray] | None = None
  density: float = 1.0
  elects: bool = False
  averages: bool = False

  @property
  def is_linear(self) -> bool:
    """Whether the result is a weighted sum of the experts as they are."""
    return self.sparsify is None and not self.elects


def _trim(delta: np.ndarray, density: float, random: object) -> np.ndarray:
  del random
  return trim(delta, density)


# By default TIES keeps the largest 20 %, and DARE drops 90 %, as in the papers.
METHODS = {
  'mean': Method(averages=True),
  'task_arithmetic': Method(),
  'magnitude_prune': Method(_trim, 0.2),
  'ties': Method(_trim, 0.2, elects=True),
  'dare_linear': Method(drop, 0.1),
  'dare_ties': Method(drop, 0.1, elects=True),
}


def merge(
  deltas: np.ndarray,
  weights: Weights | None = None,
  method: str = 'mean',
  density: float | None = None,
  majority_sign: str = 'total',
  seed: Seed = 0,
) -> np.ndarray:
  """Merges what experts add to the base.

  With M_e for what the method keeps of expert e:

      mean                         sum_e w_e D_e / sum_e w_e
      task_arithmetic              sum_e w_e D_e
      magnitude_prune, dare_linear sum_e w_e M_e
      ties, dare_ties              sum_{e agrees} w_e M_e / |{e agrees}|

  As in PEFT, signs are elected before the weights are applied. The divisor
  counts experts and not their weights.

  Args:
    deltas: [E, ...], the difference of each expert from the base.
    weights: [E]. If None, all are 1. The methods task_arithmetic, dare_linear
      and magnitude_prune then add the experts up; the others average them.
    method: a name in METHODS.
    density: the share of numbers that a sparse method keeps of each expert, in
      (0, 1]. If None, it is 0.2 where the largest numbers are kept and 0.1
      where random ones are.
    majority_sign: 'total' or 'frequency'; see `agrees`.
    seed: seeds DARE's draws. Whoever merges several leaves passes one generator
      to all, because one number would draw alike for leaves of one shape.

  Returns:
    [...], float32, or float64 if `deltas` is.

  Raises:
    UserError: if a name is unknown, if the density is out of range or the
      method has none, or if there is not one weight for each expert.
  """
  deltas = _floats(deltas)
  how, density = _checked(method, density, majority_sign)
  factors = _checked_weights(weights, len(deltas), how).astype(deltas.dtype)
  if how.sparsify:
    random = np.random.default_rng(seed)
    deltas = np.stack([how.sparsify(x, density, random) for x in deltas])
  if not how.elects:
    return np.tensordot(factors, deltas, 1)
  agreed = agrees(deltas, majority_sign)
  total = np.einsum('e,e...->...', factors, np.where(agreed, deltas, 0))
  return total / np.maximum(agreed.sum(0), 1).astype(deltas.dtype)


def merged_vectors(
  scales: np.ndarray,
  weights: Weights | None = None,
  method: str = 'mean',
  density: float | None = None,
  majority_sign: str = 'total',
  seed: Seed = 0,
) -> np.ndarray:
  """Merges (IA)³ vectors into one by their differences from one.

  Args:
    scales: [E, *out].
    weights: see `merge`, as the other arguments.
    method: see `merge`.
    density: see `merge`.
    majority_sign: see `merge`.
    seed: see `merge`.

  Returns:
    [*out]. With the method 'mean' it does what the mixture does at these
    weights, because (IA)³ is linear in its vector.

  Raises:
    UserError: see `merge`.
  """
  deltas = _floats(scales) - 1
  return 1 + merge(deltas, weights, method, density, majority_sign, seed)


def merged_pairs(
  a: np.ndarray,
  b: np.ndarray,
  scale: float,
  rank: int | None = None,
  weights: Weights | None = None,
  method: str = 'mean',
  density: float | None = None,
  majority_sign: str = 'total',
  seed: Seed = 0,
  on: str = 'product',
  scale_after: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Merges LoRA pairs of one site into one pair.

  A mean of `a` times a mean of `b` is not a mean of `a b`: it has products of
  the `a` of one expert with the `b` of another. Only the mean on 'product' at a
  rank of at least E * R does what the mixture does at these weights.

  On 'product' the matrices `scale a_e b_e` are merged, and a truncated SVD
  U S V^T gives the pair U sqrt(S), sqrt(S) V^T. A mean and task arithmetic are
  computed from the factors. The other methods need all E matrices of the site,
  [E, in, out], a few times in memory.

  On 'factors' `a` and `b` are merged apart. Task arithmetic and the sparse
  methods equal PEFT's `add_weighted_adapter` with a combination type without
  'svd': both factors are weighted by sqrt|w scale|, and `a` gets the sign of w.
  A mean averages both factors with the weights themselves, as SMEAR does
  (arXiv 2306.03745), so that equal experts stay what they are.

  Note: PEFT's combination types with 'svd' apply the scale of LoRA twice. They
  equal this function on 'product' only for experts of scale 1.

  Args:
    a: [E, in, R].
    b: [E, R, out].
    scale: alpha / R of the experts.
    rank: the rank of the pair that is returned; R if None. Columns beyond the
      rank of the product are zero. On 'factors' only R is possible.
    weights: see `merge`.
    method: see `merge`.
    density: see `merge`.
    majority_sign: see `merge`.
    seed: see `merge`. The draws of `a` and `b` differ.
    on: 'product' or 'factors'.
    scale_after: alpha / rank with which the returned pair will be used, above
      0. The default is that of a LoRA whose alpha is its rank.

  Returns:
    a [in, rank] and b [rank, out], with `scale_after a b` as the update.

  Raises:
    UserError: see `merge`; or if `on`, `rank` or `scale_after` is not one of
      those above.
  """
  a, b = _floats(a), _floats(b)
  how, kept = _checked(method, density, majority_sign)
  factors = _checked_weights(weights, len(a), how)
  rank = _checked_rank(rank, a.shape[-1], on)
  if scale_after <= 0:
    raise UserError(f'scale_after = {scale_after}: it must be above 0.')
  share = scale / scale_after
  random = np.random.default_rng(seed)
  kept = None if how.is_linear else kept
  if on == 'factors':
    if how.averages:
      sides = np.full(len(a), np.sqrt(abs(share)))
      signs, sides = np.full(len(a), np.sign(share)), sides * factors
    else:
      signs = np.where(factors * share >= 0, 1, -1)
      sides = np.sqrt(np.abs(factors * share))
    # The weights are final: a mean of them is a sum by now.
    name = 'task_arithmetic' if how.is_linear else method
    return (
      merge(a, sides * signs, name, kept, majority_sign, random),
      merge(b, sides, name, kept, majority_sign, random),
    )
  if how.is_linear:
    # [in, E * R] times [E * R, out] is the sum over the experts.
    wide = a.swapaxes(0, 1).reshape(a.shape[1], -1)
    tall = (b * (share * factors)[:, None, None]).reshape(-1, b.shape[-1])
    pair = low_rank.split_product(wide, tall, rank)
  else:
    dense = merge(a @ b, factors, method, kept, majority_sign, random)
    pair = low_rank.split(share * dense, rank)
  return pair[0].astype(a.dtype), pair[1].astype(b.dtype)


def _floats(array: np.ndarray) -> np.ndarray:
  array = np.asarray(array)
  return array if array.dtype == np.float64 else array.astype(np.float32)


def _known(name: str, value: str, allowed: Sequence[str]) -> None:
  if value not in allowed:
    raise UserError(
      f'{name} = {value!r} is none of {", ".join(map(repr, allowed))}.'
      + nearest(value, allowed)
    )


def _checked(
  method: str, density: float | None, majority_sign: str
) -> tuple[Method, float]:
  """The method of a name, and the density that it works with."""
  _known('method', method, tuple(METHODS))
  _known('majority_sign', majority_sign, MAJORITY_SIGNS)
  how = METHODS[method]
  if density is None:
    return how, how.density
  if not how.sparsify:
    sparse = ', '.join(name for name, x in METHODS.items() if x.sparsify)
    raise UserError(
      f'density = {density}: the method {method!r} keeps every number. Leave '
      f'the density out, or take one of {sparse}.'
    )
  if not 0 < density <= 1:
    raise UserError(
      f'density = {density}: it must be above 0 and at most 1, the share of '
      'numbers that each expert keeps.'
    )
  return how, density


def _checked_weights(
  weights: Weights | None, count: int, how: Method
) -> np.ndarray:
  """The factors of the experts, [E], in float64."""
  if weights is None:
    given = np.ones(count)
  else:
    given = np.asarray(weights, np.float64)
  if given.shape != (count,):
    raise UserError(
      f'weights of shape {given.shape} for {count} experts: give one number '
      'for each expert.'
    )
  if not how.averages:
    return given
  if not given.sum():
    raise UserError(
      f'weights = {given.tolist()} add up to 0, and a mean divides by their '
      "sum: give others, or method = 'task_arithmetic'."
    )
  return given / given.sum()


def _checked_rank(rank: int | None, before: int, on: str) -> int:
  _known('on', on, PAIRS)
  if rank is None:
    return before
  if rank < 1:
    raise UserError(f'rank = {rank}: a pair needs a rank of at least 1.')
  if on == 'factors' and rank != before:
    raise UserError(
      f"rank = {rank}: merging on 'factors' keeps the rank of the experts, "
      f"{before}. Leave the rank out, or give on = 'product'."
    )
  return rank
