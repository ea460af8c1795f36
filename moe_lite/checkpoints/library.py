"""A library of experts as a folder, and how it is read.

  library.json      what the experts have in common, and what each of them is
  experts/NAME/     an expert, as exported adapters

Experts of a library have one method at the same sites, of one size, on one
base. Read as adapters, a library is the mixture of all its experts under task
routing: each data set uses the expert of its name. So every command takes it.
"""

import dataclasses
import functools
import posixpath
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.adapters.adapter import Adapter, AdapterFactory
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.checkpoints import buckets, exported
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.format import Format, Found
from moe_lite.checkpoints.leaf_shapes import shapes
from moe_lite.core import json_files, parameters
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import Tree
from moe_lite.routing.prototypes import GateRouter
from moe_lite.routing.tasks import TaskRouter
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_run, from_json

INDEX, EXPERTS = exported.LIBRARY, exported.EXPERTS
_FORMAT = 'moe_lite library'
_VERSION = 1


def is_library(path: str) -> bool:
  """Whether a library lies at a path."""
  return buckets.read(posixpath.join(path, INDEX)) is not None


def folder_of(path: str, name: str) -> str:
  """The folder of an expert of a library."""
  return posixpath.join(path, EXPERTS, name)


def index(path: str) -> dict[str, dict[str, Any]]:
  """Returns what a library says of its experts, by name, in their order.

  Raises:
    UserError: if it is damaged, or of a newer version.
  """
  experts = json_files.read_form(
    posixpath.join(path, INDEX),
    _FORMAT,
    _VERSION,
    'experts',
    'the index of a library of experts',
  )
  return dict(sorted(experts.items()))


def index_of(experts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """Returns the contents of `library.json`; see `index`."""
  return {
    'format': _FORMAT,
    'version': _VERSION,
    'experts': {name: dict(experts[name]) for name in sorted(experts)},
  }


def chosen(path: str, names: list[str] | None) -> list[str]:
  """Returns the names of some experts, or of all for None, in their order.

  Raises:
    UserError: if there is no such expert, if one is named twice, or if fewer
      than two are chosen.
  """
  known = list(index(path))
  wanted = known if names is None else sorted(set(names))
  if names is not None and len(wanted) < len(names):
    raise UserError(
      f'An expert is named twice among {", ".join(names)}: name each once.'
    )
  for name in wanted:
    if name not in known:
      raise UserError(
        f'{path} has no expert {name!r}.{nearest(name, known)} It has '
        f'{", ".join(known) or "none"}.'
      )
  if len(wanted) < 2:
    raise UserError(
      f'{path}: a mixture needs at least two experts, and here is '
      f'{", ".join(wanted) or "none"}. Add more with `python -m '
      'moe_lite.library add`.'
    )
  return wanted


def read(path: str, names: list[str] | None = None) -> tuple[Tree, Description]:
  """Reads experts as a mixture under task routing.

  Args:
    path: the folder of the library.
    names: the experts to take; None takes all.

  Returns:
    The leaves, in the order of the names; and what they say of themselves.

  Raises:
    UserError: if an expert is missing or damaged, or there are fewer than two.
  """
  names = chosen(path, names)
  parts = [_load(path, name) for name in names]
  first = parts[0][1]
  network = mixture_of(from_json(first.network_of(path)), len(names))
  leaves = [parameters.flatten(tree) for tree, _ in parts]
  together = {x: _together(x, [part[x] for part in leaves]) for x in leaves[0]}
  tree = parameters.unflatten(together)
  return tree, Description(
    method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
    base=first.base,
    tree=shapes(together),
    training={'library': path, 'experts': ', '.join(names)},
    text=first.text,
    tasks={'by': 'dataset', 'names': names},
  )


def _load(path: str, name: str) -> tuple[Tree, Description]:
  tree, said = exported.load(folder_of(path, name))
  wanted = index(path)[name].get('fingerprint')
  found = parameters.fingerprint(tree)
  if wanted != found:
    raise UserError(
      f'{folder_of(path, name)} has the fingerprint {found}, and {INDEX} '
      f'names {wanted}: it is not the expert that was added. Add it again with '
      '--overwrite.'
    )
  return tree, said


def mixture_of(network: T5Config, num_experts: int) -> T5Config:
  """The network of a mixture of experts under task routing.

  Args:
    network: the network of one expert.
    num_experts: the number of experts.

  Raises:
    UserError: if the adapters of the network are not those of one expert.
  """
  adapters = {
    site: _mixture(site, adapter, num_experts)
    for site, adapter in network.standing().items()
  }
  return dataclasses.replace(network, adapters=adapters, decisions={})


def is_expert(adapter: Adapter) -> bool:
  """Whether an adapter is a single expert, which a library may hold."""
  if type(adapter) in (IA3, LoRA):
    return True
  return (
    type(adapter) is MoLoRA and adapter.num_experts == 1 and has_gate(adapter)
  )


def has_gate(adapter: Adapter) -> bool:
  """Whether an adapter has the gates of PHATGOOSE beside its experts."""
  if type(adapter) is not MoLoRA:
    return False
  made = adapter.router(num_experts=adapter.num_experts, parent=None)
  return isinstance(made, GateRouter)


def _mixture(site: str, adapter: Adapter, count: int) -> AdapterFactory:
  if not is_expert(adapter):
    raise UserError(
      f'{type(adapter).__name__} at {site} is not a single expert: a library '
      'holds (IA)³ and LoRA. Split a mixture into its experts first.'
    )
  if isinstance(adapter, IA3):
    return functools.partial(MoV, num_experts=count, router=TaskRouter)
  assert isinstance(adapter, LoRA | MoLoRA)
  return functools.partial(
    MoLoRA,
    num_experts=count,
    rank=adapter.rank,
    alpha=adapter.alpha,
    router=GateRouter if has_gate(adapter) else TaskRouter,
  )


def _together(path: str, leaves: list[np.ndarray]) -> np.ndarray:
  """Puts the leaves of experts beside each other, on a first axis."""
  is_gated = leaves[0].ndim == 3 or path.endswith('router/gates')
  return np.concatenate(leaves) if is_gated else np.stack(leaves)


class _Library(Format):
  """A folder of this form."""

  name = 'a library of experts'

  def is_at(self, path: str) -> bool:
    return is_library(path)

  def inspect(self, path: str) -> Found:
    return Found.of_trained(self.name, *read(path))

  def describe(self, path: str, step: int | None = None) -> Description:
    return read(path)[1]

  def trained(
    self, path: str, step: int | None = None, assumed: Description | None = None
  ) -> tuple[Tree, Description]:
    return read(path)


FORMAT = _Library()
