"""The verbs that write a base: `export_base`, `export_hf`, `export_t5x`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from moe_lite.checkpoints import bases, formats, lazy_arrays
from moe_lite.checkpoints.base_folder import DTYPES, save_base
from moe_lite.checkpoints.hugging_face import model
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.inference.vocabulary import model_in
from moe_lite.process import arguments
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import to_json
from moe_lite.training import configuration


def export_base(argv: Sequence[str]) -> None:
  """Runs `export_base`; see `command`. Raises UserError for a mistake."""
  values = _flags()
  source = formats.local(arguments.one_path('export_base', argv, values))
  leaves, facts = _read(source, values)
  described = to_json(network_of(source, values.gin_file))
  save_base(
    values.to,
    parameters.unflatten(leaves),
    {
      **facts,
      'dtype': _types(leaves),
      'network': {**described, 'adapters': {}},
    },
    model_in(source),
    values.overwrite,
  )
  _say_written(values.to, leaves)


def export_hf(argv: Sequence[str]) -> None:
  """Runs `export_hf`; see `command`. Raises UserError for a mistake."""
  values = _flags()
  source = formats.local(arguments.one_path('export_hf', argv, values))
  leaves, _ = _read(source, values)
  network = network_of(source, values.gin_file)
  model.write(values.to, leaves, network, values.overwrite)
  _say_written(values.to, leaves)
  say(f'Its mlp_activations are {network.mlp_activations}.')


def export_t5x(argv: Sequence[str]) -> None:
  """Runs `export_t5x`; see `command`. Raises UserError for a mistake."""
  values = _flags()
  arguments.add(values, flags.DEFINE_bool, 'scan_layers', False)
  source = formats.local(arguments.one_path('export_t5x', argv, values))
  if _has_steps(source):
    # Of a run, everything that it trained is written, adapters or not.
    trained, description = formats.read_trained(source, values.step)
    leaves = _cast(parameters.flatten(trained), values.dtype)
    step = description.step
  else:
    leaves, facts = _read(source, values)
    step = facts.get('step') or 0
  form = parameters.like_network(
    parameters.unflatten(leaves), values.scan_layers
  )
  native.write(values.to, parameters.flatten(form), step, values.overwrite)
  _say_written(values.to, leaves)


def network_of(source: str, gin_files: Sequence[str] = ()) -> T5Config:
  """The network of a run or a base.

  It is asked for what it says. Failing that, its leaves tell.

  Args:
    source: the path, as `formats.local` gives it.
    gin_files: see `configuration.read_config`.
  """
  if _has_steps(source) and gin_files:
    return configuration.read_config(source, gin_files)['model'].module.config
  return bases.network(source)


def _flags() -> flags.FlagValues:
  values = arguments.to_flag()
  arguments.add(values, flags.DEFINE_enum, 'dtype', enum_values=DTYPES)
  arguments.of_run(values)
  return values


def _has_steps(source: str) -> bool:
  """Whether it is the folder of a run, with a checkpoint for each step."""
  found = formats.find(source)
  return found is not None and found.has_steps


def _read(
  source: str, values: flags.FlagValues
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Reads a base: its leaves, layers apart, and what is known of it.

  Leaves of adapters, which a T5X checkpoint may have, are left out.
  """
  found = formats.find_base(source, source)
  if values.step is not None and not found.has_steps:
    raise UserError(f'--step is of a run, and {source!r} is not a run.')
  arrays = found.arrays(source, values.step)
  leaves = lazy_arrays.read_all(arrays)
  bases.check_read(found, source, arrays, leaves)
  kept = {
    name: leaf
    for name, leaf in leaves.items()
    if not parameters.is_adapter(name)
  }
  return _cast(kept, values.dtype), found.origin(source, values.step)


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
