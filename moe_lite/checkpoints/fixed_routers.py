"""Makes plain IA3 or LoRA of a routed mixture, by fixing its routers.

If the weights p of a router are fixed, a mixture becomes one expert. Vectors
become their mean `sum_e p_e scale_e`. LoRA pairs become one pair of rank E * R,
with the weights in its `b`. Whatever reads IA3 and LoRA can read the result.
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.adapters.adapter import (
  Adapter,
  AdapterFactory,
)
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import ADAPTER_SUFFIX, Tree
from moe_lite.routing.statistics import Usage
from moe_lite.t5 import description
from moe_lite.t5.config import T5Config


def check(network: T5Config) -> None:
  """Raises UserError unless the routers of a network can be fixed.

  Args:
    network: the network of a run. At least one MoV or MoLoRA must stand in it,
      and nothing else that routes.
  """
  standing = network.standing()
  if network.decisions:
    raise UserError(
      'Routers that share a decision cannot be collapsed: give a run whose '
      'adapters each have their own.'
    )
  unknown = {
    site: adapter
    for site, adapter in standing.items()
    if hasattr(adapter, 'router') and not _is_mixture(adapter)
  }
  if unknown:
    raise UserError(
      f'{description.at_sites(unknown)} cannot be collapsed: '
      'MoV and MoLoRA can, unless they average matrices.'
    )
  if not any(map(_is_mixture, standing.values())):
    raise UserError(
      'Nothing is routed, so there is nothing to collapse: the adapters are '
      f'{description.at_sites(standing)}.'
    )


def collapse(
  network: T5Config, trained: Tree, weights: Mapping[str, np.ndarray]
) -> tuple[T5Config, Tree]:
  """Fixes the routers of a run.

  Args:
    network: the network of the run, with its adapters.
    trained: what the run trained, which must be adapters alone, unrolled.
    weights: router, such as 'encoder/layers_1/attention/key', to the weights
      [E] with which its experts are mixed.

  Returns:
    The network, with IA3 for MoV and LoRA for MoLoRA, and its adapters.

  Raises:
    UserError: see `check`.
  """
  check(network)
  standing = network.standing()
  kept: dict[str, Any] = {}
  mixtures: dict[str, dict[str, np.ndarray]] = {}
  for path, leaf in parameters.flatten(trained).items():
    place, _, name = path.partition(f'{ADAPTER_SUFFIX}/')
    if _is_mixture(standing[_site(place)]):
      mixtures.setdefault(place, {})[name] = np.asarray(leaf)
    else:
      kept[path] = leaf
  for place, leaves in mixtures.items():
    adapter = standing[_site(place)]
    p = np.asarray(weights[place], np.float32)
    if isinstance(adapter, MoV):
      fixed = _fix_mov(adapter, leaves['scale'], p)
    else:
      fixed = _fix_molora(leaves['a'], leaves['b'], p)
    for name, leaf in fixed.items():
      kept[f'{place}{ADAPTER_SUFFIX}/{name}'] = leaf
  plain = {
    site: _plain(adapter) if _is_mixture(adapter) else network.adapters[site]
    for site, adapter in standing.items()
  }
  return (
    dataclasses.replace(network, adapters=plain),
    parameters.unflatten(kept),
  )


def mean_weights(
  routing: Mapping[str, Mapping[str, Usage]],
) -> dict[str, np.ndarray]:
  """Router to the mean weights [E] of its experts, over all tokens.

  Args:
    routing: data set to router to how it was used; see `routing_usage.measure`.
  """
  measured = list(routing.values())
  totals = {
    router: functools.reduce(operator.add, [x[router] for x in measured])
    for router in measured[0]
  }
  return {router: x.weight / x.tokens for router, x in totals.items()}


def _fix_mov(
  adapter: MoV, scale: np.ndarray, p: np.ndarray
) -> dict[str, np.ndarray]:
  """`scale` [E, *out] to [*out], summed as `MoV` sums it."""
  mixture = np.tensordot(p, scale.astype(np.float32) - 1, axes=1)
  router = adapter.router(num_experts=adapter.num_experts, parent=None)
  kept = np.float32(1) if router.normalized else p.sum()
  return {'scale': (kept + mixture).astype(scale.dtype)}


def _fix_molora(
  a: np.ndarray, b: np.ndarray, p: np.ndarray
) -> dict[str, np.ndarray]:
  """`a` [E, in, R] to [in, E * R], `b` [E, R, out] to [E * R, out]."""
  columns = a.shape[0] * a.shape[2]
  weighted = (p[:, None, None] * b.astype(np.float32)).astype(b.dtype)
  return {
    'a': a.swapaxes(0, 1).reshape(a.shape[1], columns),
    'b': weighted.reshape(columns, b.shape[2]),
  }


def _plain(adapter: Adapter) -> AdapterFactory:
  """The adapter that a mixture becomes.

  LoRA of rank E * R gets E times the alpha, so that it scales as before.
  """
  if isinstance(adapter, MoLoRA):
    E = adapter.num_experts
    return functools.partial(
      LoRA, rank=E * adapter.rank, alpha=E * adapter.alpha
    )
  return IA3


def _is_mixture(adapter: Adapter) -> bool:
  # A subclass may mix in another way, so that it is not one. If matrices are
  # averaged, the mixture is no sum of its experts.
  is_averaged = getattr(adapter, 'averages', False)
  return type(adapter) in (MoV, MoLoRA) and not is_averaged


def _site(place: str) -> str:
  return place.rpartition('/')[2]
