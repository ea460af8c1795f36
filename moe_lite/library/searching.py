"""LoraHub: searches the weights of experts with a few examples, no gradients.

Source: Huang et al., arXiv 2307.13269, section 3.3, and its released code.
"""

import importlib
import math
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np

from moe_lite.core.errors import UserError


def search(
  loss: Callable[[np.ndarray], float],
  num_experts: int,
  budget: int = 40,
  penalty: float = 0.05,
  limit: float = 1.5,
  seed: int = 0,
) -> np.ndarray:
  """Finds weights with which the experts have a small loss together.

  What is minimized is `loss(w) + penalty * mean_e |w_e|`, by the optimizer that
  nevergrad's NGOpt chooses for the size and the budget. It begins at w = 0,
  which is the base without experts. The defaults are those of the released
  code, which differs from the paper in that it divides the penalty by E.

  Note: LoraHub multiplies both `a` and `b` of LoRA by the weights, and so
  merges `(sum_e w_e a_e) (sum_e w_e b_e)`. To do the same, `loss` merges each
  of the two by `merging.merge(leaf, w, 'task_arithmetic')`.

  Args:
    loss: takes weights [E], float64, and returns what is to be small. A loss
      that is not finite counts as the worst of those before it.
    num_experts: the number of experts, E.
    budget: how often `loss` is called; a few times E, if that can be paid.
    penalty: the factor of the mean absolute weight.
    limit: weights are between -limit and limit.
    seed: seeds the optimizer.

  Returns:
    [E], the best of the weights that were tried.

  Raises:
    UserError: if an argument is out of range, if no loss is finite before one
      that is not, or if nevergrad is not installed.
  """
  for name, value in (('num_experts', num_experts), ('budget', budget)):
    if value < 1:
      raise UserError(f'{name} = {value}: it must be at least 1.')
  if limit <= 0:
    raise UserError(f'limit = {limit}: it must be above 0.')
  if penalty < 0:
    raise UserError(f'penalty = {penalty}: it must be at least 0.')
  nevergrad = optimizers()
  tried: list[tuple[float, np.ndarray]] = []

  def penalized(weights: np.ndarray) -> float:
    value = float(loss(weights.copy())) + penalty * np.abs(weights).mean()
    if math.isfinite(value):
      tried.append((value, weights.copy()))
      return value
    if not tried:
      raise UserError(
        f'The loss at the weights {weights.tolist()} is {value}, and none '
        'before it was finite: check the examples and the experts.'
      )
    return max(tried, key=lambda x: x[0])[0]

  space = nevergrad.p.Array(
    init=np.zeros(num_experts), lower=-limit, upper=limit
  )
  space.random_state = np.random.RandomState(seed)
  optimizer = nevergrad.optimizers.NGOpt(space, budget=budget)
  with warnings.catch_warnings():
    # NGOpt leaves settings of scipy's COBYLA to scipy, which says so.
    warnings.filterwarnings('ignore', 'COBYLA: Invalid')
    optimizer.minimize(penalized)
  return min(tried, key=lambda x: x[0])[1]


def optimizers() -> ModuleType:
  """Returns the package nevergrad.

  Raises:
    UserError: if it cannot be imported.
  """
  try:
    return importlib.import_module('nevergrad')
  except ImportError as error:
    raise UserError(
      'Searching the weights of experts needs nevergrad, which cannot be '
      f"imported ({error}): pip install 'moe_lite[library]'"
    ) from error
