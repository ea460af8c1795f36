"""Bases in other forms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite import networks, parameters, run_folder
from moe_lite import vocabulary as vocabularies
from moe_lite.checkpoints import base, formats, hugging_face, own, t5x
from moe_lite.checkpoints.formats import Kind
from moe_lite.conversions import arguments
from moe_lite.errors import UserError
from moe_lite.progress import say
from moe_lite.t5 import T5Config


def export_base(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = _flags()
  source = formats.local(arguments.one_path('export_base', argv, values))
  leaves, facts = _read(source, values)
  described = networks.to_json(network_of(source))
  base.save_base(
    values.to,
    parameters.unflatten(leaves),
    {
      **facts,
      'dtype': _types(leaves),
      'network': {**described, 'adapters': {}},
    },
    vocabularies.model_in(source),
    values.overwrite,
  )
  _say_written(values.to, leaves)


def export_hf(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = _flags()
  source = formats.local(arguments.one_path('export_hf', argv, values))
  leaves, _ = _read(source, values)
  network = network_of(source)
  hugging_face.write(values.to, leaves, network, values.overwrite)
  _say_written(values.to, leaves)
  say(f'Its mlp_activations are {network.mlp_activations}.')


def export_t5x(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = _flags()
  flags.DEFINE_bool('scan_layers', False, 'Stacked.', flag_values=values)
  source = formats.local(arguments.one_path('export_t5x', argv, values))
  if formats.kind(source) is Kind.RUN:
    trained, facts = own.restore_trainable(source, values.step)
    leaves = _cast(parameters.flatten(trained), values.dtype)
  else:
    leaves, facts = _read(source, values)
  form = parameters.like_network(
    parameters.unflatten(leaves), values.scan_layers
  )
  t5x.write(
    values.to,
    parameters.flatten(form),
    facts.get('step') or 0,
    values.overwrite,
  )
  _say_written(values.to, leaves)


def network_of(source: str) -> T5Config:
  """The network of a run or a base, by what it says or by its leaves."""
  is_run = formats.kind(source) is Kind.RUN
  if is_run and (epath.Path(source) / run_folder.CONFIG).exists():
    return run_folder.read_config(source)['model'].module.config
  return base.network(source)


def _flags() -> flags.FlagValues:
  values = arguments.to_flag()
  flags.DEFINE_enum('dtype', None, base.DTYPES, 'To write in.', values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  return values


def _read(
  source: str, values: flags.FlagValues
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """A base's leaves, layers apart, without adapters; what is known of it."""
  kind = formats.kind(source)
  if kind is Kind.RUN:
    leaves, description = base.read_run(source, values.step)
    facts = {
      'run': source,
      'step': description['step'],
      'data': description.get('data'),
    }
  elif values.step is not None:
    raise UserError(f'--step is of a run, and {source!r} is none.')
  else:
    leaves = {
      name: leaf
      for name, leaf in base.read(source).items()
      if not parameters.is_adapter(name)
    }
    facts = {**base.metadata(source), 'source': source}
    if text := base.text(source):
      facts['text'] = text
    if kind is Kind.T5X:
      facts['step'] = t5x.read_step(source)
  return _cast(leaves, values.dtype), facts


def _cast(
  leaves: dict[str, np.ndarray], dtype: str | None
) -> dict[str, np.ndarray]:
  if dtype is None:
    return leaves
  return {name: leaf.astype(dtype) for name, leaf in leaves.items()}


def _say_written(folder: str, leaves: dict[str, np.ndarray]) -> None:
  count = parameters.count(list(leaves.values()))
  say(f'Wrote {folder}: {count:,} parameters, {_types(leaves)}.')


def _types(leaves: dict[str, np.ndarray]) -> str:
  return ', '.join(sorted({leaf.dtype.name for leaf in leaves.values()}))
