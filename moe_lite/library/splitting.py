"""The verb `split`: makes a library of the experts of a mixture."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from moe_lite.adapters.adapter import Adapter, AdapterFactory
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.checkpoints import exported, library
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.core.types import ADAPTER_SUFFIX, Tree
from moe_lite.evaluation.exporting import Handed, network_of
from moe_lite.library import folder
from moe_lite.process import arguments
from moe_lite.routing.prototypes import GateRouter
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run


def split(argv: Sequence[str]) -> None:
  """Runs `split`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.of_run(values)
  arguments.add(values, flags.DEFINE_list, 'names')
  source = arguments.one_path('split', argv, values)
  handed = Handed.of(exported.local(source), values.step, values.gin_file)
  said = handed.description
  network = network_of(said)
  count = _count(source, network)
  names = folder.names(values.names) or _names(said.tasks, count)
  if len(set(names)) != count:
    raise UserError(
      f'--names={",".join(names)} names {len(set(names))} experts, and '
      f'{source} has {count}: give {count} different names.'
    )
  for name in names:
    folder.check_name(name)
  for e, name in enumerate(names):
    single, leaves = expert(network, handed.leaves, e)
    method = describe_run(single, parameters.TRAINABLE_ADAPTERS)
    training = {'run': source, **handed.training, 'expert': f'{e} of {count}'}
    if said.tasks is not None:
      training['data'] = name
    folder.write(
      values.to,
      name,
      leaves,
      dataclasses.replace(said, method=method, tasks=None),
      training,
      handed.vocabulary,
      handed.text,
    )
  say(f'Wrote {values.to}: {count} experts, {", ".join(names)}.')


def expert(network: T5Config, leaves: Tree, e: int) -> tuple[T5Config, Tree]:
  """Returns one expert of a mixture: its network, and its leaves.

  It equals the mixture under a router that always chooses expert e.

  Args:
    network: the network of the mixture.
    leaves: its leaves, layers apart.
    e: the index of the expert.
  """
  standing = network.standing()
  factories = {site: _single(adapter) for site, adapter in standing.items()}
  taken: dict[str, np.ndarray] = {}
  for path, leaf in parameters.flatten(leaves).items():
    place, _, name = path.partition(f'{ADAPTER_SUFFIX}/')
    adapter = standing[place.rpartition('/')[2]]
    if not isinstance(adapter, MoV | MoLoRA):
      taken[path] = leaf
    elif library.has_gate(adapter):
      taken[path] = leaf[e : e + 1]
    elif '/' not in name:  # The router is left behind.
      taken[path] = leaf[e]
  config = dataclasses.replace(network, adapters=factories, decisions={})
  return config, parameters.unflatten(taken)


def _single(adapter: Adapter) -> AdapterFactory:
  if isinstance(adapter, MoV):
    return IA3
  if isinstance(adapter, MoLoRA):
    fields: dict[str, Any] = {'rank': adapter.rank, 'alpha': adapter.alpha}
    if not library.has_gate(adapter):
      return functools.partial(LoRA, **fields)
    router = functools.partial(GateRouter, by_task=False)
    return functools.partial(MoLoRA, num_experts=1, router=router, **fields)
  return functools.partial(
    type(adapter),
    **{
      field.name: getattr(adapter, field.name)
      for field in dataclasses.fields(adapter)
      if field.name not in ('parent', 'name', 'site')
    },
  )


def _count(source: str, network: T5Config) -> int:
  """The number of experts at every site."""
  counts = {
    adapter.num_experts
    for adapter in network.standing().values()
    if isinstance(adapter, MoV | MoLoRA)
  }
  if len(counts) != 1:
    raise UserError(
      f'{source} cannot be split into experts: '
      + (
        f'its sites have {", ".join(map(str, sorted(counts)))} of them.'
        if counts
        else 'it has no MoV and no MoLoRA.'
      )
    )
  return counts.pop()


def _names(tasks: Mapping[str, Any] | None, count: int) -> list[str]:
  if tasks is not None and len(tasks['names']) == count:
    return list(tasks['names'])
  return [f'expert_{e}' for e in range(count)]
