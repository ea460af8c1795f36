"""What a run trained, in other forms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite import networks, parameters, run_folder
from moe_lite import vocabulary as vocabularies
from moe_lite.checkpoints import folders, own, portable, t5x
from moe_lite.conversions import arguments
from moe_lite.errors import UserError
from moe_lite.progress import say


def export(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  run = arguments.one_path('export', argv, values)
  trained, description = own.restore_trainable(run, values.step)
  bound = run_folder.read_config(run)
  # A run from before they said it themselves has it in its configuration.
  described = networks.to_json(bound['model'].module.config)
  dataset = bound['dataset']
  training = {
    'steps': description['step'],
    'data': dataset.mixture_or_task_name,
    'batch size': dataset.batch_size,
    'run': run,
  }
  # After the configuration of a run, which imports its tasks.
  from moe_lite import data

  inputs = data.find(dataset.mixture_or_task_name).output_features['inputs']
  portable.save(
    values.to,
    trained,
    {'network': described, **description},
    training,
    _vocabulary(inputs.vocabulary),
    values.overwrite,
    vocabularies.describe(inputs),
  )
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def import_(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  folder = arguments.one_path('import', argv, values)
  if not portable.is_portable(folder):
    raise UserError(f'{folder} holds no adapters that `export` wrote.')
  trained, description = portable.load(folder)
  with folders.new(values.to, values.overwrite) as partial:
    checkpoints = own.Checkpoints(str(partial))
    # Nothing of the loop's: a run that trains on begins its optimizer anew.
    nothing = {'imported': np.zeros((), np.int32)}
    checkpoints.save(description['step'], trained, nothing, {}, description)
    checkpoints.close()
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def export_t5x(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  flags.DEFINE_bool('scan_layers', False, 'Stacked.', flag_values=values)
  run = arguments.one_path('export_t5x', argv, values)
  trained, description = own.restore_trainable(run, values.step)
  form = parameters.like_network(trained, values.scan_layers)
  t5x.write(
    values.to,
    parameters.flatten(form),
    description['step'],
    values.overwrite,
  )
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def _vocabulary(vocabulary: Any) -> bytes | None:
  """The SentencePiece model of what a run read, where it has one."""
  path = getattr(vocabulary, 'sentencepiece_model_file', None)
  if path is None:
    return None
  try:
    return epath.Path(path).read_bytes()
  except OSError as error:
    say(f'Without the vocabulary, as it cannot be read: {error}.')
    return None
