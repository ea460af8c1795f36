"""What a run trained, in other forms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite.checkpoints import exported, runs
from moe_lite.convert import arguments
from moe_lite.core import files, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.inference import vocabulary as vocabularies
from moe_lite.t5.description import from_json, to_json
from moe_lite.training import run_folder


def export(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  run = arguments.one_path('export', argv, values)
  trained, description = read(run, values.step)
  if 'text' in description:  # Of a run that `import` made.
    training, text = description['training'], description['text']
    texts = vocabularies.model_in(run), text
  else:
    dataset = run_folder.read_config(run)['dataset']
    training = training_of(run, description, dataset)
    texts = texts_of(dataset)
  exported.save(
    values.to,
    trained,
    description,
    training,
    *texts,
    overwrite=values.overwrite,
  )
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def import_(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  folder = arguments.one_path('import', argv, values)
  if not exported.is_portable(folder):
    raise UserError(f'{folder} holds no adapters that `export` wrote.')
  trained, description = exported.load(folder)
  from_json(description['network'])  # Or a message, before a run.
  vocabulary = vocabularies.model_in(folder)
  with files.new(values.to, values.overwrite) as partial:
    checkpoints = runs.Checkpoints(str(partial))
    # Nothing of the loop's: a run that trains on begins its optimizer anew.
    nothing = {'imported': np.zeros((), np.int32)}
    checkpoints.save(description['step'], trained, nothing, {}, description)
    checkpoints.close()
    if vocabulary is not None:
      (partial / exported.VOCABULARY).write_bytes(vocabulary)
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def read(source: str, step: int | None = None) -> tuple[Tree, dict[str, Any]]:
  """What a run trained, or exported adapters; `network` is in the description.

  Args:
    source: its folder.
    step: of a run's checkpoint; the last by default.

  Raises:
    UserError: if it is neither, or has no such step.
  """
  if exported.is_portable(source):
    if step is not None:
      raise UserError(f'--step is of a run, and {source!r} is none.')
    return exported.load(source)
  trained, description = runs.restore_trainable(source, step)
  if 'network' not in description:
    # Of before runs said it themselves; their configuration has it.
    network = run_folder.read_config(source)['model'].module.config
    description = {**description, 'network': to_json(network)}
  return trained, description


def training_of(
  run: str, description: Mapping[str, Any], dataset: Any
) -> dict[str, Any]:
  """What an exported folder says of the run that it is of.

  Args:
    run: its folder.
    description: of its checkpoint.
    dataset: that its configuration names.
  """
  return {
    'steps': description['step'],
    'data': dataset.mixture_or_task_name,
    'batch size': dataset.batch_size,
    'run': run,
  }


def texts_of(dataset: Any) -> tuple[bytes | None, dict[str, Any]]:
  """How a run's texts became ids.

  Args:
    dataset: that its configuration names.

  Returns:
    The SentencePiece model of what it read, where it has one; and
    `vocabularies.describe` of it.
  """
  # After the configuration of a run, which imports its tasks.
  from moe_lite.data.dataset import find

  provider = find(dataset.mixture_or_task_name)
  inputs = provider.output_features['inputs']
  return _model(inputs.vocabulary), vocabularies.describe(inputs)


def _model(vocabulary: Any) -> bytes | None:
  """The SentencePiece model of what a run read, where it has one."""
  path = getattr(vocabulary, 'sentencepiece_model_file', None)
  if path is None:
    return None
  try:
    return epath.Path(path).read_bytes()
  except OSError as error:
    say(f'Without the vocabulary, as it cannot be read: {error}.')
    return None
