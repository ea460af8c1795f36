"""What a run is handed on as: its adapters, and what they say of themselves."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.checkpoints import formats
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.model_card import HUB_DATASETS
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.data import catalog
from moe_lite.inference.vocabulary import describe, model_in
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import from_json, to_json


@dataclasses.dataclass(frozen=True)
class Handed:
  """What a run, or an export, is handed on as.

  Attributes:
    leaves: what was trained, layers apart.
    description: what it says of itself; it always names the network.
    training: what to say of its training, for people to read.
    vocabulary: its SentencePiece model; None if it has none.
    text: how texts became ids; see `inference.vocabulary.Text`.
  """

  leaves: Tree
  description: Description
  training: Mapping[str, Any]
  vocabulary: bytes | None
  text: Mapping[str, Any]

  @classmethod
  def of(
    cls, source: str, step: int | None = None, gin_files: Sequence[str] = ()
  ) -> 'Handed':
    """Reads a run, or an export; see `read` for the arguments and errors."""
    leaves, said = read(source, step, gin_files)
    if said.text is not None:  # It is an export, or was made of one.
      return cls(leaves, said, said.training or {}, model_in(source), said.text)
    dataset = _configured(source, gin_files)['dataset']
    training = training_of(source, said, dataset)
    return cls(leaves, said, training, *texts_of(dataset))


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
    network = _configured(source, gin_files)['model'].module.config
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
  # Imported here, after the configuration of the run has imported its tasks.
  from moe_lite.data import registry

  tasks = registry.tasks_of(registry.find(dataset.mixture_or_task_name))
  infos = [catalog.lookup(task.name) for task in tasks]
  names = [
    info.dataset if info else task.name
    for info, task in zip(infos, tasks, strict=True)
  ]
  said = {
    'steps': description.step,
    'data': dataset.mixture_or_task_name,
    'tasks': len(tasks),
    'data sets': ', '.join(sorted(set(names))),
    HUB_DATASETS: sorted({info.hub for info in infos if info and info.hub}),
    'batch size': dataset.batch_size,
    'learning rate': _rate(description),
    'seed': (description.data or {}).get('seed'),
    'run': run,
  }
  return {name: x for name, x in said.items() if x not in (None, [])}


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


def _rate(description: Description) -> str | None:
  """The rates of a run, in words; None if they were not written down."""
  rates = (description.settings or {}).get('SCHEDULE and LEARNING_RATE') or {}
  # The rates are written down at some steps, also beyond the last of the run.
  seen = {
    int(step): rate
    for step, rate in rates.items()
    if int(step) < description.step
  }
  if not seen:
    return None
  if len({*seen.values()}) == 1:
    return f'{seen[min(seen)]:g}'
  return ', '.join(f'{rate:g} at step {step}' for step, rate in seen.items())


def _configured(run: str, gin_files: Sequence[str]) -> dict[str, Any]:
  # Imported here, because an export has no configuration.
  from moe_lite.training import configuration

  return configuration.read_config(run, gin_files)


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
