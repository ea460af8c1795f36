"""The promises of routers, by themselves and in both mixtures."""

import dataclasses
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree
from moe_lite.routing.router import STATISTICS, BaseRouter, RouterFactory
from moe_lite.t5.contract import observing, promises
from moe_lite.t5.contract.observing import EXPERTS, SITES, B, L
from moe_lite.t5.contract.promises import IDENTITY, Promise, Result

# What a router reads: the tensors of a site whose tokens are vectors, and those
# of one whose tokens have heads. MoLoRA gives the first, and MoV both.
_READS = {'vectors': SITES['wo'], 'heads': SITES['key']}
# How far the weights of a token may be from one together.
_ROUNDING = 1e-5
_SOWN = {'probability', 'weight', 'load', 'first', 'entropy', 'tokens'}


@dataclasses.dataclass(frozen=True)
class Routed:
  """What a router does with a few tokens.

  Attributes:
    router: the router.
    params: the shapes of its parameters.
    axes: their logical axes.
    lead: the shape of what it reads, without the features.
    half: the shapes of the weights for vectors in bfloat16.
    weights: the weights, away from the initial values of the parameters. They
      are None if their shape is not one that weights may have.
    sown: the names of the statistics that it sows. It is empty then.
  """

  router: BaseRouter
  params: Tree
  axes: Tree
  lead: tuple[int, ...]
  half: Any
  weights: np.ndarray | None
  sown: frozenset[str]


def build(factory: RouterFactory) -> BaseRouter:
  """Builds a router, outside of any adapter.

  Raises:
    UserError: if it has fields that must be given.
  """
  try:
    return factory(num_experts=EXPERTS, parent=None)
  except TypeError as error:
    raise UserError(observing.needs_fields(error)) from error


def observe(router: BaseRouter, reads: str) -> Routed | str:
  """Runs a router on vectors, or on heads.

  Args:
    router: the router.
    reads: a key of what it may read.

  Returns:
    What it does, or the error that it raises in words.
  """
  try:
    return _observe(router, reads)
  except Exception as error:
    return observing.said(error)


def _observe(router: BaseRouter, reads: str) -> Routed:
  site = _READS[reads]
  axes = site.in_axes if reads == 'vectors' else site.out_axes
  which = 0 if reads == 'vectors' else 1
  *given, context = observing.tensors(site)
  x = given[which]
  key = jax.random.key(0)
  half = observing.tensors(site, jnp.bfloat16)[which]
  made, _ = jax.eval_shape(
    lambda key: router.init_with_output(key, half, axes[-1], context), key
  )
  variables = jax.eval_shape(
    lambda key: router.init(key, x, axes[-1], context), key
  )

  seen = Routed(
    router=router,
    params=flax.core.unfreeze(variables.get('params', {})),
    axes=observing.axes_of(variables),
    lead=x.shape[:-1],
    half=made,
    weights=None,
    sown=frozenset(),
  )
  if made.shape not in _shapes(seen):
    return seen

  @jax.jit
  def run(key: Array) -> tuple[Array, Any]:
    params = router.init(key, x, axes[-1], context).get('params', {})
    moved = {'params': observing.away(params, key)}
    return router.apply(moved, x, axes[-1], context, mutable=[STATISTICS])

  weights, sown = run(key)
  return dataclasses.replace(
    seen,
    weights=np.asarray(weights),
    sown=frozenset(sown.get(STATISTICS, {})),
  )


def _shapes(seen: Routed) -> list[tuple[int, ...]]:
  """Returns the shapes that weights may have, those for each vector first."""
  splits = (seen.router.splits,) if seen.router.splits > 1 else ()
  leads = (seen.lead, (B, L), (B, 1, *seen.lead[2:]), (B, 1))
  return [(*lead, *splits, EXPERTS) for lead in leads]


def _other_shape(seen: Routed) -> str:
  fits = _shapes(seen)
  if seen.half.shape not in fits:
    return (
      f'weights have the shape {list(seen.half.shape)}; {list(fits[0])} would '
      f'have weights for each vector, and {list(fits[-1])} for each row'
    )
  if seen.half.dtype != jnp.float32:
    return f'weights are {seen.half.dtype} where activations are bfloat16'
  return ''


def _other_sum(seen: Routed) -> str:
  if seen.weights is None:
    return ''
  if not np.isfinite(seen.weights).all():
    return 'some weights are not finite'
  if not seen.router.normalized:
    return ''
  off = np.abs(seen.weights.sum(-1) - 1).max()
  return '' if off <= _ROUNDING else f'a sum is {off:.3g} away from one'


def _unsown(seen: Routed) -> str:
  # Whoever makes a shared decision sows its statistics.
  if seen.weights is None or 'shared' in seen.router.needs:
    return ''
  missing = sorted(_SOWN - seen.sown)
  return f'it does not sow {", ".join(missing)}' if missing else ''


PROMISES = (
  promises.AXES,
  promises.FLOAT32,
  Promise(
    'returns float32 weights, one for each expert',
    _other_shape,
    'Compute the logits in float32, with the experts on the last axis, and '
    'keep their shape in `select`.',
  ),
  Promise(
    'returns finite weights, which sum to one if it says so',
    _other_sum,
    'Divide by the sum in `select`, or set `normalized = False` in the class. '
    'MoV then changes the base at initialisation.',
  ),
  Promise(
    'sows the statistics of its decisions',
    _unsown,
    'Implement `logits`, `select` or `weigh`, and leave `__call__` as it is.',
  ),
)


def alone(factory: RouterFactory) -> list[Result]:
  """Checks the promises of a router outside of any adapter.

  Args:
    factory: what builds the router.

  Raises:
    UserError: if it cannot be built.
  """
  router = build(factory)
  reads = ['vectors'] if _is_for_pairs(router) else list(_READS)
  seen = {name: observe(router, name) for name in reads}
  errors = {at: x for at, x in seen.items() if isinstance(x, str)}
  ran = {at: x for at, x in seen.items() if isinstance(x, Routed)}
  return [
    Result(promises.RUNS, errors, len(seen)),
    *(promises.results(promise, ran) for promise in PROMISES),
  ]


def check(factory: RouterFactory) -> dict[str, list[Result]]:
  """Checks the promises of a router, alone and in the mixtures it suits.

  Args:
    factory: what builds the router.

  Returns:
    The results under the name of the router, and under each mixture's.

  Raises:
    UserError: if it cannot be built.
  """
  router = build(factory)
  name = type(router).__name__
  found = {name: alone(factory)}
  if found[name][0].broken:  # It raises the same errors in the mixtures.
    return found
  for mixture in (MoLoRA,) if _is_for_pairs(router) else (MoV, MoLoRA):
    made = functools.partial(mixture, num_experts=EXPERTS, router=factory)
    excused = () if mixture is MoLoRA or router.normalized else (IDENTITY,)
    sites = observing.one_of_each_shape(observing.sites(made))
    found[f'{mixture.__name__} with {name}'] = promises.check(
      made, sites, excused
    )
  return found


def _is_for_pairs(router: BaseRouter) -> bool:
  return router.for_pairs or router.splits > 1
