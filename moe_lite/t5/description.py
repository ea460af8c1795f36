"""Networks in JSON: sizes, and what stands at which site.

What a run or exported adapters say of themselves, so that a network can be
built from it again without gin.
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

# Sizes and switches that its parameters fit, and no others.
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
# Packages' own classes go by their bare names.
_OURS = (adapters, routing)
_KINDS = (adapters.Adapter, routing.BaseRouter, routing.Decision)
_TYPE = 'type'


def to_json(config: T5Config) -> dict[str, Any]:
  """What parameters of a network depend on.

  Returns:
    `SIZES`, and `adapters`: site to {'type': 'MoV', 'num_experts': 10,
    'router': {'type': 'SoftRouter', ...}, ...}; `decisions` likewise, if any.
  """
  sizes = {name: getattr(config, name) for name in SIZES}
  sizes['mlp_activations'] = list(config.mlp_activations)
  described = {**sizes, 'adapters': _adapters(config)}
  if config.decisions:
    described['decisions'] = _decisions(config)
  return described


def from_json(described: Mapping[str, Any], **changes: Any) -> T5Config:
  """The inverse of `to_json`.

  Args:
    described: what `to_json` gave; without `adapters`, there are none.
    **changes: other fields of the network, such as `dtype`.

  Raises:
    UserError: if it is not such a description, or an adapter's class is
      neither of this package nor imported.
  """
  fields = {name: described[name] for name in SIZES if name in described}
  try:
    for name in ('adapters', 'decisions'):
      there = described.get(name, {})
      fields[name] = {where: _build(what) for where, what in there.items()}
    return T5Config(**{**fields, **changes})
  except (AttributeError, KeyError, TypeError) as error:
    raise UserError(
      f'The description of a network cannot be understood: {error}. It is of '
      'another version of moe_lite, or damaged.'
    ) from error


def describe_method(config: T5Config) -> dict[str, str]:
  """What stands at every site: 'MoV(num_experts=10, ...)', and what decides.

  Two runs of one method have equal descriptions; parameter shapes alone would
  not tell a top-1 from a top-2 router, or one ALPHA from another.
  """
  there = _adapters(config) | _decisions(config)
  return {where: _text(what) for where, what in there.items()}


def at_sites(standing: Mapping[str, adapters.Adapter]) -> str:
  """'IA3 at key, LoRA at wo'; 'none' where there are none."""
  described = [f'{type(x).__name__} at {site}' for site, x in standing.items()]
  return ', '.join(described) or 'none'


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
  """A module's class and fields, initial values aside."""
  kind = type(module)
  is_ours = any(getattr(x, kind.__name__, None) is kind for x in _OURS)
  name = kind.__name__ if is_ours else f'{kind.__module__}.{kind.__qualname__}'
  later = getattr(kind, 'later_fields', ())
  fields = {}
  for field in dataclasses.fields(kind):
    value = getattr(module, field.name)
    if field.name in ('parent', 'name', 'site') or field.name.endswith('_init'):
      continue
    # What runs said of a method before it had this field stays true.
    if field.name in later and value == field.default:
      continue
    fields[field.name] = _value(field.name, value, module)
  return {_TYPE: name, **fields}


def _value(field: str, value: Any, module: Any) -> Any:
  """A field's value for JSON; of a router, its own description."""
  if not callable(value):
    return value
  experts = getattr(module, 'num_experts', None)
  if experts is not None and field.endswith('router'):
    # A router is built where it is used, with the adapter's experts.
    return _describe(value(num_experts=experts, parent=None))
  return getattr(value, '__qualname__', type(value).__qualname__)


def _build(described: Mapping[str, Any]) -> AdapterFactory:
  fields = {
    name: _build(value) if isinstance(value, Mapping) else value
    for name, value in described.items()
    if name != _TYPE
  }
  return functools.partial(_class(described[_TYPE]), **fields)


def _class(name: str) -> Any:
  module, _, last = name.rpartition('.')
  # Importing what a file names would run whatever its author names.
  for place in [sys.modules.get(module)] if module else _OURS:
    found = getattr(place, last, None)
    if isinstance(found, type) and issubclass(found, _KINDS):
      return found
  raise UserError(
    f'{name} is not an adapter or router of this moe_lite, nor of a module '
    'that is imported. If you trust where it comes from, import its module '
    'first.'
  )


def _text(value: Any) -> str:
  if not isinstance(value, Mapping):
    return repr(value)
  kind = value[_TYPE].rpartition('.')[2]
  fields = [f'{k}={_text(v)}' for k, v in value.items() if k != _TYPE]
  return f'{kind}({", ".join(fields)})'


def describe_run(config: T5Config, trainable: str) -> dict[str, Any]:
  """What a checkpoint says of its network and method; see `check_method`."""
  return {
    'trainable': trainable,
    'method': describe_method(config),
    'network': to_json(config),
  }


def check_method(
  run: str, saved: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
  """Refuses another method, also one with parameters of the same shapes.

  Args:
    run: its folder, for the message.
    saved: the description of its checkpoint.
    now: from `describe_run`.

  Raises:
    UserError: if they differ; it says in what.
  """
  lines = []
  if saved['trainable'] != now['trainable']:
    lines.append(
      f'TRAINABLE: {saved["trainable"]!r} in the run, {now["trainable"]!r} in '
      'this command.'
    )
  for site in sorted({*saved['method'], *now['method']}):
    old, new = (x['method'].get(site, 'nothing') for x in (saved, now))
    if old != new:
      lines.append(f'ADAPTERS at {site}: {old} in the run, {new} now.')
  if lines:
    raise UserError(
      f'The run {run} trained another method than this command names:\n'
      + '\n'.join(f'  {line}' for line in lines)
      + '\nGive the methods/ and routers/ files and the macros that it was '
      'trained with (its config.gin has them), or another run.'
    )
