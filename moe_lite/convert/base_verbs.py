"""Bases in other forms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite.checkpoints import bases, formats, runs
from moe_lite.checkpoints.formats import Kind
from moe_lite.checkpoints.hugging_face import model
from moe_lite.checkpoints.t5x import native
from moe_lite.convert import arguments
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.inference import vocabulary as vocabularies
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import to_json
from moe_lite.training import run_folder


def export_base(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = _flags()
  source = formats.local(arguments.one_path('export_base', argv, values))
  leaves, facts = _read(source, values)
  described = to_json(network_of(source))
  bases.save_base(
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
  model.write(values.to, leaves, network, values.overwrite)
  _say_written(values.to, leaves)
  say(f'Its mlp_activations are {network.mlp_activations}.')


def export_t5x(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = _flags()
  flags.DEFINE_bool('scan_layers', False, 'Stacked.', flag_values=values)
  source = formats.local(arguments.one_path('export_t5x', argv, values))
  if formats.kind(source) is Kind.RUN:
    trained, facts = runs.restore_trainable(source, values.step)
    leaves = _cast(parameters.flatten(trained), values.dtype)
  else:
    leaves, facts = _read(source, values)
  form = parameters.like_network(
    parameters.unflatten(leaves), values.scan_layers
  )
  native.write(
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
  return bases.network(source)


def _flags() -> flags.FlagValues:
  values = arguments.to_flag()
  flags.DEFINE_enum('dtype', None, bases.DTYPES, 'To write in.', values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  return values


def _read(
  source: str, values: flags.FlagValues
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """A base's leaves, layers apart, without adapters; what is known of it."""
  kind = formats.kind(source)
  if kind is Kind.RUN:
    leaves, description = bases.read_run(source, values.step)
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
      for name, leaf in bases.read(source).items()
      if not parameters.is_adapter(name)
    }
    facts = {**bases.metadata(source), 'source': source}
    if text := bases.text(source):
      facts['text'] = text
    if kind is Kind.T5X:
      facts['step'] = native.read_step(source)
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
