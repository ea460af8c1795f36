"""Bases in other forms."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from absl import flags
from etils import epath

from moe_lite import parameters, run_folder
from moe_lite.checkpoints import base, hugging_face, own
from moe_lite.conversions import arguments
from moe_lite.errors import UserError
from moe_lite.progress import say
from moe_lite.t5 import T5Config


def export_base(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_enum('dtype', 'bfloat16', base.DTYPES, 'To write in.', values)
  flags.DEFINE_integer(
    'step', None, 'Of a checkpoint; the last.', flag_values=values
  )
  run = arguments.one_path('export_base', argv, values)
  leaves, description = base.read_run(run, values.step)
  params = parameters.cast(
    parameters.unflatten(leaves), jnp.dtype(values.dtype)
  )
  base.save_base(
    values.to,
    params,
    {
      'run': run,
      'step': description['step'],
      'data': description.get('data'),
      'dtype': values.dtype,
      **(
        {'network': description['network']} if 'network' in description else {}
      ),
    },
    values.overwrite,
  )
  say(f'Wrote {values.to}: {parameters.count(params):,} parameters.')


def export_hf(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_enum('dtype', None, base.DTYPES, 'To write in.', values)
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  source = base.local(arguments.one_path('export_hf', argv, values))
  if own.is_run_folder(source):
    leaves, _ = base.read_run(source, values.step)
  elif values.step is not None:
    raise UserError(f'--step is of a run, and {source!r} is none.')
  else:
    leaves = base.read(source)
  if values.dtype:
    leaves = {x: leaf.astype(values.dtype) for x, leaf in leaves.items()}
  network = network_of(source, leaves)
  hugging_face.write(values.to, leaves, network, values.overwrite)
  say(
    f'Wrote {values.to}: {parameters.count(list(leaves.values())):,} '
    f'parameters, mlp_activations {network.mlp_activations}.'
  )


def network_of(source: str, leaves: Mapping[str, np.ndarray]) -> T5Config:
  """The network of a run or a base, by what it says or by its leaves."""
  if (epath.Path(source) / run_folder.CONFIG).exists():
    return run_folder.read_config(source)['model'].module.config
  return base.network(source, leaves)
