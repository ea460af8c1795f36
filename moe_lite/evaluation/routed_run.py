"""A run that routes, and what it becomes if its routers are fixed.

Both are evaluated in one way, so that their accuracies can be compared.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.checkpoints import exported, fixed_routers
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.evaluation import exporting
from moe_lite.evaluation.exporting import Handed
from moe_lite.evaluation.results import Averages, Evaluation
from moe_lite.evaluation.summaries import Summary
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.description import describe_run
from moe_lite.training import configuration


class RoutedRun:
  """A run whose routers can be fixed, once or several times.

  Attributes:
    run: the folder of the run.
    step: the step of its checkpoint.
    bound: the configuration of the run; see `configuration.read_config`.
  """

  def __init__(
    self, run: str, step: int | None = None, gin_files: Sequence[str] = ()
  ):
    """Reads the run.

    Args:
      run: the folder of the run.
      step: the step of its checkpoint; None takes the last one.
      gin_files: see `configuration.read_config`.

    Raises:
      UserError: unless it is a run whose routers can be fixed.
    """
    self.run = run
    self._trained, self._description = exporting.read(run, step, gin_files)
    self.step = self._description.step
    self.bound = configuration.read_config(run, gin_files)
    fixed_routers.check(self.bound['model'].module.config)
    leaves = parameters.flatten(self._trained)
    if others := [path for path in leaves if not parameters.is_adapter(path)]:
      raise UserError(
        f'{run} trained more than adapters, such as {others[0]}: it does not '
        'collapse to adapters on the base that it began from.'
      )

  @property
  def base(self) -> str:
    """Where its base is."""
    return self.bound['initial_checkpoint_path']

  @property
  def data(self) -> str:
    """The mixture or task that it was trained on."""
    return self.bound['dataset'].mixture_or_task_name

  def fixed(self, weights: Mapping[str, np.ndarray], over: str) -> Handed:
    """Fixes the routers of the run, and returns plain adapters.

    Args:
      weights: see `fixed_routers.collapse`.
      over: the examples that the weights are means over, for people to read.
    """
    network, plain = fixed_routers.collapse(
      self.bound['model'].module.config, self._trained, weights
    )
    dataset = self.bound['dataset']
    return Handed(
      plain,
      dataclasses.replace(
        self._description,
        method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
        tasks=None,
      ),
      {
        **exporting.training_of(self.run, self._description, dataset),
        'collapsed': f'routers fixed at their mean weights over {over}',
      },
      *exporting.texts_of(dataset),
    )

  def evaluate(self, output: str, mixture: str, split: str) -> Evaluation:
    """Evaluates the run itself into a folder."""
    return self._evaluate(output, mixture, split)

  def evaluate_fixed(
    self, folder: str, output: str, mixture: str, split: str
  ) -> Evaluation:
    """Evaluates what `fixed` made and `exported.save` wrote into a folder."""
    model = self.bound['model']
    network = exporting.network_of(exported.describe(folder))
    config = dataclasses.replace(model.module.config, adapters=network.adapters)
    plain = EncoderDecoderModel(
      model.module.clone(config=config), model.z_loss, model.label_smoothing
    )
    return self._evaluate(
      output,
      mixture,
      split,
      model=plain,
      checkpoint_path=folder,
      trainable=parameters.TRAINABLE_ADAPTERS,
      step=None,
    )

  def _evaluate(
    self, output: str, mixture: str, split: str, **changes: Any
  ) -> Evaluation:
    from moe_lite.evaluation import loop
    from moe_lite.inference.source import ModelSource

    dataset = self.bound['dataset']
    source = ModelSource.of_run(self.run, self.bound, self.step)
    source = dataclasses.replace(source, **changes)
    return loop.evaluate(
      **vars(source),
      output_dir=output,
      mixture_or_task_name=mixture,
      task_feature_lengths=dataset.task_feature_lengths,
      split=split,
      use_cached=dataset.use_cached,
    )


def average(found: Evaluation | Summary) -> Averages:
  """The average over tasks. `check_ranked` made sure that there is one."""
  assert found.average is not None
  return found.average


def check_ranked(name: str) -> None:
  """Raises UserError unless all tasks of a mixture have answer choices."""
  from moe_lite.data import catalog, dataset

  provider = dataset.find(name)
  tasks = getattr(provider, 'tasks', [provider])
  if any(not task.name.endswith(catalog.SCORE_EVAL) for task in tasks):
    raise UserError(
      f'--evaluate={name} has tasks without answer choices, which give no '
      f'accuracy: name a mixture of {catalog.SCORE_EVAL} tasks.'
    )
