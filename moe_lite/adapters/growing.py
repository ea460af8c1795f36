"""How a mixture of experts begins from one expert, or from fewer of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# What lies under this path belongs to the router of a mixture.
_ROUTER = 'router/'


def copies(
  mixture: Any, source: Any, params: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Makes every expert of a mixture a copy of one adapter.

  The mixture then does what the adapter did, whatever its router says. Only a
  single expert may have a router whose weights do not sum to one: the gate that
  trains beside it.

  Args:
    mixture: an adapter with `num_experts` and a `router`.
    source: the adapter.
    params: the parameters of the adapter.

  Raises:
    UserError: if the weights of the router do not sum to one, and there are
      several experts.
  """
  if mixture.num_experts > 1 and not _router(mixture).normalized:
    raise mixture.cannot_begin(
      source,
      'The weights of its router do not sum to one: give RENORMALIZE = True, '
      'or another routers/ file.',
    )
  count = mixture.num_experts
  return {name: np.stack([leaf] * count) for name, leaf in params.items()}


def more_experts(
  mixture: Any, source: Any, params: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Gives a mixture the experts of a smaller one, each of them several times.

  The copies of an expert share its probability, so that the mixture does what
  the smaller one did. Expert e becomes the experts e, e + E, e + 2 E, ...

  Args:
    mixture: the mixture that begins.
    source: one of the same class, with as many experts or fewer.
    params: the parameters of `source`.

  Raises:
    UserError: if the number of experts is not a multiple of the source's, or
      copies would not share the probability of their expert.
  """
  count, before = mixture.num_experts, source.num_experts
  if count == before:
    return dict(params)
  if count % before:
    raise mixture.cannot_begin(
      source,
      f'It has {before} experts there and {count} here: NUM_EXPERTS must be '
      f'{before} or a multiple of it, so that all experts grow alike.',
    )
  for made in map(_router, (mixture, source)):
    if not made.shares_among_copies:
      raise mixture.cannot_begin(
        source,
        f'Under {type(made).__name__}, copies of an expert do not share its '
        f'probability, so that {count} experts cannot do what {before} did.',
      )
  return {
    name: repeated(leaf, count // before, is_router=name.startswith(_ROUTER))
    for name, leaf in params.items()
  }


def with_derived(
  mixture: Any, params: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Adds the leaves of a router that are computed from the experts.

  Leaves that are there already are kept.

  Args:
    mixture: the mixture that begins.
    params: its parameters so far.

  Raises:
    UserError: if its router needs leaves that cannot be computed.
  """
  router = _router(mixture)
  wanted = [f'{_ROUTER}{name}' for name in router.prototypes]
  if all(path in params for path in wanted):
    return dict(params)
  made = {f'{_ROUTER}{x}': leaf for x, leaf in router.derived(params).items()}
  return {**params, **made}


def repeated(leaf: np.ndarray, times: int, is_router: bool) -> np.ndarray:
  """Repeats the experts of a leaf.

  Args:
    leaf: [E, ...], or [..., E] of a router.
    times: how often.
    is_router: whether it is a leaf of a router.
  """
  axis = leaf.ndim - 1 if is_router else 0
  return np.concatenate([leaf] * times, axis)


def _router(mixture: Any) -> Any:
  return mixture.router(num_experts=mixture.num_experts, parent=None)
