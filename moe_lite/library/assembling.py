"""The verb `assemble`: makes a mixture of experts of a library."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from moe_lite import routing
from moe_lite.checkpoints import exported, library
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.library import folder, making
from moe_lite.process import arguments
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run, from_json

# Routers that need no training once the experts are there.
ROUTERS: dict[str, Callable[..., Any]] = {
  'task': routing.TaskRouter,
  'uniform': routing.UniformRouter,
  'arrow': routing.ArrowRouter,
  'spectr': routing.SpectrRouter,
  'phatgoose': routing.PhatgooseRouter,
}
# How many experts a token keeps under those that choose, as in routers/.
_KEPT = {'arrow': 4, 'spectr': 4, 'phatgoose': 2}


def assemble(argv: Sequence[str]) -> None:
  """Runs `assemble`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.add(values, flags.DEFINE_string, 'router')
  arguments.add(values, flags.DEFINE_list, 'experts')
  arguments.add(values, flags.DEFINE_integer, 'top_k', lower_bound=1)
  arguments.add(values, flags.DEFINE_float, 'temperature')
  path = arguments.one_path('assemble', argv, values)
  if values.router not in ROUTERS:
    raise UserError(
      f'--router={values.router} is not one of {", ".join(ROUTERS)}.'
      f'{nearest(values.router or "", ROUTERS)} Other routers are trained: '
      f'give --gin.INITIAL_ADAPTERS="\'{path}\'" and a routers/ file to '
      '`python -m moe_lite.train`.'
    )
  options = {'k': values.top_k, 'temperature': values.temperature}
  given = {x: y for x, y in options.items() if y is not None}
  if given and values.router not in _KEPT:
    raise UserError(
      f'--router={values.router} has no --top_k and no --temperature: leave '
      f'them out, or give one of {", ".join(_KEPT)}.'
    )
  source = exported.local(path)
  leaves, said = assembled(
    source, folder.names(values.experts), values.router, **given
  )
  making.save(values, source, leaves, said)
  say(
    f'Wrote {values.to}: {parameters.count(leaves):,} parameters, routed by '
    f'{values.router}. Name it wherever adapters are named, as in '
    f'--gin.CHECKPOINT_PATH="\'{values.to}\'".'
  )


def assembled(
  path: str, names: list[str] | None, router: str, **options: Any
) -> tuple[Tree, Description]:
  """Makes a mixture of experts under a router.

  Args:
    path: the folder of the library.
    names: the experts to take; None takes all.
    router: one of `ROUTERS`.
    **options: fields of the router, `k` and `temperature`.

  Returns:
    The leaves, layers apart; and what they say of themselves.

  Raises:
    UserError: if there are fewer than two experts, or if they lack what the
      router needs.
  """
  tree, said = library.read(path, names)
  there = from_json(said.network_of(path))
  network = routed(there, router, **options)
  taken = making.leaves(path, tree, there, network)
  described = dataclasses.replace(
    said,
    method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
    training={**(said.training or {}), 'router': router},
  )
  return taken, described


def routed(network: T5Config, router: str, **options: Any) -> T5Config:
  """The network of a mixture with another router.

  Args:
    network: the network of the mixture.
    router: one of `ROUTERS`.
    **options: fields of the router.
  """
  factories = {}
  for site, adapter in network.standing().items():
    fields: dict[str, Any] = {'num_experts': adapter.num_experts}
    if hasattr(adapter, 'rank'):
      fields |= {x: getattr(adapter, x) for x in ('rank', 'alpha')}
    given = dict(options)
    if router in _KEPT:
      kept = options.get('k', _KEPT[router])
      given['k'] = min(kept, fields['num_experts'])
    if router == 'spectr':
      given['rank'] = fields.get('rank', 1)
    made = functools.partial(ROUTERS[router], **given)
    factories[site] = functools.partial(type(adapter), router=made, **fields)
  return dataclasses.replace(network, adapters=factories, decisions={})
