"""What a command finds of its run: how far it is, and if it is the same."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.description import (
  BaseInfo,
  Description,
)
from moe_lite.checkpoints.run_checkpoints import IMPORTED, Checkpoints
from moe_lite.checkpoints.stages import stage_of
from moe_lite.core import parameters
from moe_lite.core.errors import Damaged, UserError
from moe_lite.core.progress import say
from moe_lite.data.dataset import Dataset, tasks_known
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.method import Method, check_method
from moe_lite.training.optimizers import Schedule

# The steps whose rates tell schedules apart.
_PROBED = (0, 1, 10, 100, 1000, 10_000, 100_000)


@dataclasses.dataclass(frozen=True)
class Before:
  """The checkpoint that a run goes on from.

  Attributes:
    step: how many steps were done.
    description: what the checkpoint says about itself.
  """

  step: int
  description: Description

  @property
  def data_shards(self) -> int:
    """How many streams its data were read in."""
    return self.description.data_shards


def find_before(
  model_dir: str, checkpoints: Checkpoints, method: Method
) -> Before | None:
  """Returns the last checkpoint of a run, or None if it has none.

  Damaged ones are set aside, and a message says so.

  Args:
    model_dir: the folder of the run. Messages name it.
    checkpoints: the checkpoints of the run.
    method: the method of this command; see `describe_run`.

  Raises:
    UserError: if the run has trained another method.
  """
  while (step := checkpoints.latest_step()) is not None:
    try:
      description = checkpoints.description(step)
    except Damaged as error:
      set_aside(checkpoints, step, error)
      continue
    check_method(model_dir, description.method, method)
    if set(description.optimizer or ()) == {IMPORTED}:
      raise UserError(
        f'{model_dir} was made by `convert import`. It has no state of an '
        'optimizer and no place in the data, so training cannot go on there. '
        'Name a new MODEL_DIR, and begin with these adapters: '
        f'--gin.INITIAL_ADAPTERS="\'{model_dir}\'"'
      )
    return Before(step, description)
  return None


def check_base(
  path: str | None, model: EncoderDecoderModel, trainable: str
) -> None:
  """Raises UserError if a base is missing, or does not fit the network.

  Its numbers are not read yet.

  Args:
    path: the base, or None.
    model: the model.
    trainable: a regular expression over whole paths. What matches trains.
  """
  params = model.abstract_variables()['params']
  if path is not None:
    wanted = {
      x: leaf
      for x, leaf in parameters.flatten(params).items()
      if not parameters.is_adapter(x)
    }
    network = model.module.config
    bases.check_base(path, parameters.unflatten(wanted), network)
    return
  _, frozen = parameters.split(params, trainable)
  base = [x for x in parameters.flatten(frozen) if not parameters.is_adapter(x)]
  if base:
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = None, but TRAINABLE = {trainable!r} '
      f'freezes {base[0]} and others. Adapters need a pretrained base. Name '
      "one, such as 'mini', or pretrain one with runs/pretrain.gin."
    )


def set_aside(checkpoints: Checkpoints, step: int, error: Damaged) -> None:
  if jax.process_count() > 1 and error.__cause__ is not None:
    # Only what is computed together is seen by every process.
    raise error
  place = checkpoints.set_aside(step)
  last = checkpoints.latest_step()
  say(
    f'{error} It is set aside as {place}, and nothing of it is deleted. The '
    + (f'run goes on from step {last}.' if last else 'run begins anew.')
  )


def changes_of_data(saved: Description, now: Description) -> list[str]:
  """Says in which ways a command reads other data than a checkpoint's run."""
  stream = {'data_shards': saved.data_shards, **(saved.data or {})}
  return [
    f'{name} {stream.get(name)!r} is now {value!r}'
    for name, value in (now.data or {}).items()
    if name != 'save_position' and stream.get(name) != value
  ]


def check_unchanged(
  model_dir: str, before: Before, now: Description, allow_changes: bool
) -> None:
  """Checks that a command has the data and the settings of its run.

  Args:
    model_dir: the folder of the run. Messages name it.
    before: the checkpoint that it goes on from.
    now: what this command's checkpoints would say.
    allow_changes: whether others are allowed.

  Raises:
    UserError: if they differ and may not.
  """
  if not before.step:  # Nothing was trained with them.
    return
  settings = before.description.settings or {}
  changed = changes_of_data(before.description, now) + [
    f'{name} {settings[name]!r} is now {value!r}'
    for name, value in (now.settings or {}).items()
    if name in settings and settings[name] != value
  ]
  if changed and not allow_changes:
    raise UserError(
      f'{model_dir} holds a run that is at step {before.step}, and this '
      f'command has other settings: {"; ".join(changed)}. Name a new '
      'MODEL_DIR, or give the settings of the run, which are in its '
      'config.gin. To go on with the new ones: --gin.ALLOW_CHANGES=True'
    )


def describe(
  method: Method,
  base: BaseInfo,
  dataset: Dataset,
  seed: int,
  settings: Mapping[str, Any],
  stages: Sequence[Mapping[str, Any]] | None = None,
) -> Description:
  """Returns what the checkpoints of a run say about it.

  Args:
    method: the method that it trains; see `describe_run`.
    base: which base it trains on.
    dataset: what it trains on.
    seed: the seed of the data.
    settings: see `settings_of`.
    stages: the stages before this run, if it began with other adapters.
  """
  stream = {
    **dataclasses.asdict(dataset),
    'task_feature_lengths': dict(dataset.task_feature_lengths),
    'seed': seed,
  }
  return Description(
    method,
    base,
    data=stream,
    settings=settings,
    stages=stages or None,
    tasks=tasks_known(dataset),
  )


def stages_of(
  model_dir: str, before: Before, now: Description
) -> list[Mapping[str, Any]]:
  """Returns the stages of a run that goes on from a checkpoint.

  With other data than before, what was done so far is a stage of its own.

  Args:
    model_dir: the folder of the run.
    before: the checkpoint.
    now: what this command's checkpoints would say.
  """
  so_far = list(before.description.stages or ())
  if before.step and changes_of_data(before.description, now):
    return [*so_far, stage_of(model_dir, before.description, None)]
  return so_far


def settings_of(
  model: EncoderDecoderModel, schedule: Schedule
) -> dict[str, Any]:
  """Returns what decides how a run goes, besides its data and its method.

  Args:
    model: the network and its losses.
    schedule: maps the number of a step to a learning rate. It is a function,
      so that it is told apart by its rates at some steps.
  """
  # Backends may round differently.
  rates = {
    str(step): float(f'{np.asarray(schedule(step)).item():.3g}')
    for step in _PROBED
  }
  return {
    'SCHEDULE and LEARNING_RATE': rates,
    'LOSS_NORMALIZING_FACTOR': model.loss_normalizing_factor,
    'DROPOUT_RATE': model.module.config.dropout_rate,
    **model.loss_weights,
  }
