"""The verb `merge`: makes one expert of several."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from absl import flags

from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.merged import Merging
from moe_lite.adapters.merging import PAIRS
from moe_lite.checkpoints import exported, library
from moe_lite.checkpoints.description import Description
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.library import folder, lorahub, making
from moe_lite.process import arguments
from moe_lite.process.quiet_tensorflow import import_tensorflow
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run, from_json
from moe_lite.training import configuration

LORAHUB = 'lorahub'
# The flags that only it reads, and those that it does not read.
_OF_LORAHUB = ('mixture', 'split', 'examples', 'budget', 'base', 'base_dtype')
_OF_OTHERS = ('weights', 'density', 'rank', 'on')


def merge(argv: Sequence[str]) -> None:
  """Runs `merge`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.add(values, flags.DEFINE_string, 'method', 'mean')
  arguments.add(values, flags.DEFINE_list, 'experts')
  arguments.add(values, flags.DEFINE_list, 'weights')
  arguments.add(values, flags.DEFINE_float, 'density')
  arguments.add(values, flags.DEFINE_integer, 'rank', lower_bound=1)
  arguments.add(values, flags.DEFINE_enum, 'on', 'product', enum_values=PAIRS)
  arguments.add(values, flags.DEFINE_integer, 'seed', 0)
  arguments.add(values, flags.DEFINE_string, 'mixture')
  arguments.add(values, flags.DEFINE_string, 'split', 'train')
  arguments.add(values, flags.DEFINE_integer, 'examples', 16, lower_bound=1)
  arguments.add(values, flags.DEFINE_integer, 'budget', 40, lower_bound=1)
  arguments.add(values, flags.DEFINE_string, 'base')
  arguments.add(values, flags.DEFINE_string, 'base_dtype', 'float32')
  path = arguments.one_path('merge', argv, values)
  source = exported.local(path)
  names = folder.names(values.experts)
  _check_flags(values)
  if values.method == LORAHUB:
    leaves, said = _searched(source, names, values)
  else:
    leaves, said = merged(source, names, _how(values, source), values.rank)
  making.save(values, source, leaves, said)
  say(
    f'Wrote {values.to}: {parameters.count(leaves):,} parameters, the '
    f'{values.method} of {len(library.chosen(source, names))} experts.'
  )


def _how(values: Any, source: str) -> Merging:
  weights = None
  if values.weights is not None:
    given = [_number(x) for x in values.weights]
    named = folder.names(values.experts) or library.chosen(source, None)
    if len(given) != len(named):
      raise UserError(
        f'--weights has {len(given)} numbers for {len(named)} experts: give '
        f'one for each, in the order of {", ".join(named)}.'
      )
    # Experts are read in the order of their names.
    weights = [w for _, w in sorted(zip(named, given, strict=True))]
  return Merging(values.method, values.density, weights, values.on, values.seed)


def _check_flags(values: Any) -> None:
  """Raises UserError for flags that the method does not read."""
  if values.method != LORAHUB:
    unread = [x for x in _OF_LORAHUB if values[x].present]
    why = f'only --method={LORAHUB} searches'
  else:
    unread = [x for x in _OF_OTHERS if values[x].present]
    why = f'--method={LORAHUB} finds the weights of `a` and `b` itself'
    if values.mixture is None:
      raise UserError(
        f'--method={LORAHUB} needs --mixture=NAME_score_eval, whose examples '
        'choose the weights.'
      )
  if unread:
    raise UserError(f'Leave out --{", --".join(unread)}: {why}.')


def _searched(
  source: str, names: list[str] | None, values: Any
) -> tuple[Tree, Description]:
  """Merges experts at weights that a few examples choose."""
  import_tensorflow()
  configuration.is_registered(values.mixture)  # Imports those of this package.
  search = lorahub.Search(
    **{
      x: getattr(values, x)
      for x in ('mixture', 'split', 'examples', 'budget', 'seed')
    },
    base=values.base,
    base_dtype=values.base_dtype,
  )
  return lorahub.searched(source, names, single, search)


def merged(
  path: str, names: list[str] | None, how: Merging, rank: int | None = None
) -> tuple[Tree, Description]:
  """Makes one expert of several.

  Args:
    path: the folder of the library.
    names: the experts to take; None takes all.
    how: how they are merged.
    rank: the rank of the result, for pairs of matrices; None takes that of the
      experts.

  Returns:
    The leaves, layers apart; and what they say of themselves.

  Raises:
    UserError: if the experts cannot be merged like that.
  """
  tree, said = library.read(path, names)
  there = from_json(said.network_of(path))
  network = single(there, rank)
  taken = making.leaves(path, tree, there, network, how)
  told = {x: y for x, y in dataclasses.asdict(how).items() if y is not None}
  described = dataclasses.replace(
    said,
    method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
    training={**(said.training or {}), 'merged': told},
    tasks=None,
  )
  return taken, described


def single(network: T5Config, rank: int | None = None) -> T5Config:
  """The network of one expert, by that of a mixture."""
  factories = {}
  for site, adapter in network.standing().items():
    given: dict[str, Any] = {}
    if hasattr(adapter, 'rank'):
      before = adapter.rank
      scale = adapter.alpha / before
      given = {'rank': rank or before, 'alpha': scale * (rank or before)}
    elif rank is not None:
      raise UserError('--rank is for pairs of matrices, and these are vectors.')
    factories[site] = functools.partial(LoRA if given else IA3, **given)
  return dataclasses.replace(network, adapters=factories, decisions={})


def _number(text: str) -> float:
  try:
    return float(text)
  except ValueError as error:
    raise UserError(
      f'--weights has {text!r}, which is no number: give one for each expert, '
      'such as --weights=0.5,0.25,0.25'
    ) from error
