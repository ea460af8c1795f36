"""Descriptions of networks in JSON: their sizes, and what stands at which site.

Runs and exported adapters store such a description. A network can be built from
it again without gin.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Any

from moe_lite import adapters, routing
from moe_lite.adapters.adapter import AdapterFactory
from moe_lite.core.errors import UserError
from moe_lite.t5.config import T5Config
from moe_lite.t5.method import Method

# The sizes and switches that the parameters of a network depend on.
SIZES = (
  'vocab_size',
  'emb_dim',
  'num_heads',
  'head_dim',
  'mlp_dim',
  'num_encoder_layers',
  'num_decoder_layers',
  'mlp_activations',
  'logits_via_embedding',
  'relative_attention_num_buckets',
  'relative_attention_max_distance',
)
# The classes that these packages hand on are described by their bare names.
_OURS = (adapters, routing)
# The classes that a description may name.
_KINDS = (adapters.Adapter, routing.BaseRouter, routing.Decision)
# The key under which a description names a class.
_TYPE = 'type'


def to_json(config: T5Config) -> dict[str, Any]:
  """Describes what the parameters of a network depend on.

  Returns:
    All of `SIZES`. `adapters` maps each site to the class and the fields of the
    adapter there, such as {'type': 'MoV', 'num_experts': 10, 'router':
    {'type': 'SoftRouter', ...}, ...}. `decisions` maps each place to a decision
    in the same form. It is absent if there are no decisions.
  """
  sizes = {name: getattr(config, name) for name in SIZES}
  sizes['mlp_activations'] = list(config.mlp_activations)
  described = {**sizes, 'adapters': _adapters(config)}
  if config.decisions:
    described['decisions'] = _decisions(config)
  return described


def from_json(described: Mapping[str, Any], **changes: Any) -> T5Config:
  """Builds the config that `to_json` described.

  Args:
    described: what `to_json` returned. If it has no `adapters`, the network has
      none.
    **changes: other fields of the config, such as `dtype`.

  Raises:
    UserError: if this is not such a description, or if it names a class that is
      neither part of this package nor imported.
  """
  fields = {name: described[name] for name in SIZES if name in described}
  try:
    for name in ('adapters', 'decisions'):
      there = described.get(name, {})
      fields[name] = {where: _build(what) for where, what in there.items()}
    return T5Config(**{**fields, **changes})
  except (AttributeError, KeyError, TypeError) as error:
    raise UserError(
      f'The description of a network cannot be understood: {error}. It was '
      'written by another version of moe_lite, or it is damaged.'
    ) from error


def other_sizes(there: T5Config, here: T5Config) -> list[str]:
  """Says which `SIZES` of two networks differ: 'emb_dim is 8 there ...'."""
  return [
    f'{name} is {getattr(there, name)!r} there and {getattr(here, name)!r} here'
    for name in SIZES
    if getattr(there, name) != getattr(here, name)
  ]


def describe_method(config: T5Config) -> dict[str, str]:
  """Describes what stands at every site, and the decisions, as text.

  Two runs of the same method have equal descriptions. The shapes of parameters
  alone would not tell a top-1 router from a top-2 router, or one ALPHA from
  another.

  Returns:
    From each site or place to a text such as 'MoV(num_experts=10, ...)'.
  """
  there = _adapters(config) | _decisions(config)
  return {where: _text(what) for where, what in there.items()}


def at_sites(standing: Mapping[str, adapters.Adapter]) -> str:
  """Lists adapters as 'IA3 at key, LoRA at wo', or says 'none'.

  Args:
    standing: from each site to the adapter there.
  """
  described = [f'{type(x).__name__} at {site}' for site, x in standing.items()]
  return ', '.join(described) or 'none'


def describe_run(config: T5Config, trainable: str) -> Method:
  """Describes the method of a command, as the checkpoints of its run store it.

  Args:
    config: the config of the network, with its adapters.
    trainable: the pattern of what trains; see `parameters.split`.
  """
  return Method(trainable, describe_method(config), to_json(config))


def _adapters(config: T5Config) -> dict[str, Any]:
  return {
    site: _describe(adapter)
    for site, adapter in sorted(config.standing().items())
  }


def _decisions(config: T5Config) -> dict[str, Any]:
  return {
    where: _describe(decision) for where, decision in config.deciding().items()
  }


def _describe(module: Any) -> dict[str, Any]:
  """Describes a module by its class and its fields, without initialisers."""
  kind = type(module)
  is_ours = any(getattr(x, kind.__name__, None) is kind for x in _OURS)
  name = kind.__name__ if is_ours else f'{kind.__module__}.{kind.__qualname__}'
  later = getattr(kind, 'later_fields', ())
  fields = {}
  for field in dataclasses.fields(kind):
    value = getattr(module, field.name)
    if field.name in ('parent', 'name', 'site') or field.name.endswith('_init'):
      continue
    # A run whose description is older than this field must compare equal.
    if field.name in later and value == field.default:
      continue
    fields[field.name] = _value(field.name, value, module)
  return {_TYPE: name, **fields}


def _value(field: str, value: Any, module: Any) -> Any:
  """Returns the value of a field for JSON. A router is described itself."""
  if not callable(value):
    return value
  experts = getattr(module, 'num_experts', None)
  if experts is not None and field.endswith('router'):
    # The field holds a factory. The adapter builds the router from it with its
    # own number of experts, and so does this.
    return _describe(value(num_experts=experts, parent=None))
  return getattr(value, '__qualname__', type(value).__qualname__)


def _build(described: Mapping[str, Any]) -> AdapterFactory:
  """Returns what builds the described adapter, router or decision."""
  fields = {
    name: _build(value) if isinstance(value, Mapping) else value
    for name, value in described.items()
    if name != _TYPE
  }
  return functools.partial(_class(described[_TYPE]), **fields)


def _class(name: str) -> Any:
  """Finds a class by its name, without importing anything."""
  module, _, last = name.rpartition('.')
  # If a module were imported because a file names it, the author of the file
  # could run any code.
  for place in [sys.modules.get(module)] if module else _OURS:
    found = getattr(place, last, None)
    if isinstance(found, type) and issubclass(found, _KINDS):
      return found
  raise UserError(
    f'{name} is not an adapter or router of this moe_lite, nor of a module '
    'that is imported. If you trust its source, import its module first.'
  )


def _text(value: Any) -> str:
  if not isinstance(value, Mapping):
    return repr(value)
  kind = value[_TYPE].rpartition('.')[2]
  fields = [f'{k}={_text(v)}' for k, v in value.items() if k != _TYPE]
  return f'{kind}({", ".join(fields)})'
