"""The verbs `export` and `import`: what a run trained, in another form."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.checkpoints import exported, formats
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.checkpoints.run_checkpoints import IMPORTED, Checkpoints
from moe_lite.convert import arguments
from moe_lite.core import files, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.inference.vocabulary import describe, model_in
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import from_json, to_json
from moe_lite.training import configuration


def export(argv: Sequence[str]) -> None:
  """Runs `export`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  arguments.of_run(values)
  run = arguments.one_path('export', argv, values)
  trained, description = read(run, values.step, values.gin_file)
  if description.text is not None:  # `import` made the run.
    training = description.training or {}
    texts = model_in(run), description.text
  else:
    dataset = configuration.read_config(run, values.gin_file)['dataset']
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
  """Runs `import`; see `command`. Raises UserError for a mistake."""
  values = arguments.to_flag()
  folder = arguments.one_path('import', argv, values)
  if not exported.is_exported(folder):
    raise UserError(f'{folder} does not hold adapters that `export` wrote.')
  trained, description = exported.load(folder)
  # If the network is not understood, that is said before anything is written.
  network_of(description)
  vocabulary = model_in(folder)
  with files.new(values.to, values.overwrite) as partial:
    checkpoints = Checkpoints(str(partial))
    # This stands for the state of the optimizer, which exports do not have.
    nothing = {IMPORTED: np.zeros((), np.int32)}
    checkpoints.save(description.step, trained, nothing, {}, description)
    checkpoints.close()
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
  say(f'Wrote {values.to}: {parameters.count(trained):,} parameters.')


def read(
  source: str, step: int | None = None, gin_files: Sequence[str] = ()
) -> tuple[Tree, Description]:
  """Reads what a run trained, or exported adapters.

  Args:
    source: the folder of either.
    step: the step of a run's checkpoint; None takes the last one.
    gin_files: see `configuration.read_config`.

  Returns:
    What was trained, layers apart, and what it says of itself; that always
    names the network.

  Raises:
    UserError: if it is neither, or has no such step.
  """
  trained, description = formats.read_trained(source, step)
  if description.method.network is None:
    # Early runs did not say it, but their configuration has it.
    bound = configuration.read_config(source, gin_files)
    network = bound['model'].module.config
    method = dataclasses.replace(description.method, network=to_json(network))
    description = dataclasses.replace(description, method=method)
  return trained, description


def network_of(description: Description) -> T5Config:
  """The network that adapters say they are of.

  Args:
    description: from `read`.

  Raises:
    UserError: if what they say is not understood.
  """
  assert description.method.network is not None
  return from_json(description.method.network)


def training_of(
  run: str, description: Description, dataset: Any
) -> dict[str, Any]:
  """What exported adapters say of their run, for people to read.

  Args:
    run: the folder of the run.
    description: what its checkpoint says of itself.
    dataset: the data set that its configuration names.
  """
  return {
    'steps': description.step,
    'data': dataset.mixture_or_task_name,
    'batch size': dataset.batch_size,
    'run': run,
  }


def texts_of(dataset: Any) -> tuple[bytes | None, dict[str, Any]]:
  """How the texts of a run became ids.

  Args:
    dataset: the data set that its configuration names.

  Returns:
    The SentencePiece model of the data, None where they have none; and
    `vocabulary.describe` of it.
  """
  # Imported here, after the configuration of the run has imported its tasks.
  from moe_lite.data.dataset import find

  provider = find(dataset.mixture_or_task_name)
  inputs = provider.output_features['inputs']
  return _model(inputs.vocabulary), describe(inputs)


def _model(vocabulary: Any) -> bytes | None:
  """Reads the SentencePiece model of a vocabulary; None where it has none."""
  path = getattr(vocabulary, 'sentencepiece_model_file', None)
  if path is None:
    return None
  try:
    return epath.Path(path).read_bytes()
  except OSError as error:
    say(f'Without the vocabulary, as it cannot be read: {error}.')
    return None
