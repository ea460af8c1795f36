"""LoraHub: one expert of several, whose weights a few examples choose.

What is composed is `(sum_e w_e a_e) (sum_e w_e b_e)` for LoRA, as in the
released code, and `1 + sum_e w_e (scale_e - 1)` for (IA)³. The weights are
searched without gradients; see `searching`.

Source: Huang et al., arXiv 2307.13269, section 3.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from moe_lite.adapters import merging
from moe_lite.checkpoints import library
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.library import searching
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run, from_json


@dataclasses.dataclass(frozen=True)
class Search:
  """What to search with.

  Attributes:
    mixture: the mixture or task whose right targets shall have a small loss.
    split: its split.
    examples: how many examples of each task are read, the first ones.
    budget: how many weights are tried.
    seed: seeds the search.
    lengths: {'inputs': L, 'targets': T}; longer inputs and targets are trimmed.
    base: where the base is; None takes it from where the experts say.
    base_dtype: the type in which the base is held.
  """

  mixture: str
  split: str = 'train'
  examples: int = 16
  budget: int = 40
  seed: int = 0
  lengths: Mapping[str, int] = dataclasses.field(
    default_factory=lambda: {'inputs': 1024, 'targets': 256}
  )
  base: str | None = None
  base_dtype: str = 'float32'


def searched(
  path: str,
  names: list[str] | None,
  single: Callable[[T5Config], T5Config],
  how: Search,
) -> tuple[Tree, Description]:
  """Composes one expert of several, at the weights that are found.

  Args:
    path: the folder of the library.
    names: the experts to take; None takes all.
    single: makes the network of one expert of that of a mixture.
    how: what to search with.

  Returns:
    The leaves, layers apart; and what they say of themselves. That has the
    weights.

  Raises:
    UserError: if the experts, the base and the examples do not fit, or if
      nevergrad is not installed.
  """
  # Imported here, because they import TensorFlow.
  from moe_lite.evaluation.composed import Composed
  from moe_lite.evaluation.validation import Validation

  searching.optimizers()  # Before anything large is read.
  tree, said = library.read(path, names)
  experts = {
    x: np.asarray(leaf)
    for x, leaf in parameters.flatten(tree).items()
    if '/router/' not in x
  }
  network = single(from_json(said.network_of(path)))
  composed = Composed(
    path,
    said,
    network,
    Validation(how.mixture, examples=how.examples, split=how.split),
    how.lengths,
    how.base,
    how.base_dtype,
  )
  measured: list[float] = []

  def loss(weights: np.ndarray) -> float:
    measured.append(composed.loss(compose(experts, weights)))
    return measured[-1]

  taken = library.chosen(path, names)
  found = searching.search(loss, len(taken), how.budget, seed=how.seed)
  leaves = compose(experts, found)
  weights = dict(zip(taken, map(float, found), strict=True))
  after = composed.loss(leaves)
  say(
    f'Loss of a token on {how.mixture}: {measured[0]:.4f} without experts, '
    f'{after:.4f} at the weights '
    + ', '.join(f'{w:.3f} {x}' for x, w in weights.items())
    + '.'
  )
  told = {
    'method': 'lorahub',
    'weights': weights,
    'loss': after,
    'loss without experts': measured[0],
    **{x: getattr(how, x) for x in ('mixture', 'split', 'examples')},
    **{x: getattr(how, x) for x in ('budget', 'seed')},
  }
  described = dataclasses.replace(
    said,
    method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
    training={**(said.training or {}), 'merged': told},
    tasks=None,
  )
  return parameters.unflatten(leaves), described


def compose(
  experts: Mapping[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Adds experts up at some weights.

  Args:
    experts: path to leaf [E, ...]: `a` and `b` of LoRA, which are weighted
      both, and `scale` of (IA)³.
    weights: [E].

  Returns:
    Path to leaf [...], float32.
  """
  return {
    path: merging.merged_vectors(leaf, weights, 'task_arithmetic')
    if path.endswith('/scale')
    else merging.merge(leaf, weights, 'task_arithmetic')
    for path, leaf in experts.items()
  }
