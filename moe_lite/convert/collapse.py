"""The verb `collapse`: makes plain IA3 or LoRA of a run that routes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite.checkpoints import exported
from moe_lite.convert import fixed_routers
from moe_lite.core import json_text, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.evaluation import exporting
from moe_lite.evaluation.results import Averages, Evaluation, TaskResult
from moe_lite.evaluation.summaries import Summary, summarize
from moe_lite.inference.source import ModelSource
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import arguments, cli
from moe_lite.process.quiet_tensorflow import import_tensorflow
from moe_lite.t5.description import describe_run
from moe_lite.training import configuration

# Beside the adapters: the weights that routers were fixed at, and accuracies.
REPORT = 'collapse.json'
# The folders of evaluations: of the run, of what is written, and of each task
# with routers of its own.
_BEFORE, _AFTER, _BY_TASK = 'before', 'after', 'by_task'


def collapse(argv: Sequence[str]) -> None:
  """Runs `collapse`; see `command`. Raises UserError for a mistake."""
  values = _flags()
  run = arguments.one_path('collapse', argv, values)
  if values.by_task and not values.evaluate:
    raise UserError('--by_task needs --evaluate: the tasks to fix routers for.')
  import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  from moe_lite.evaluation import routing_usage

  collapsing = _Collapsing(run, values)
  if values.evaluate:
    _check_ranked(values.evaluate)
  routing = routing_usage.measure_run(
    run,
    values.mixture,
    values.split,
    values.examples,
    collapsing.step,
    values.gin_file,
  )
  weights = fixed_routers.mean_weights(routing)
  dataset = ', '.join(
    values.mixture or [collapsing.bound['dataset'].mixture_or_task_name]
  )
  count = collapsing.write(
    values.to,
    weights,
    f'{dataset}, {values.split}, {values.examples} examples a task',
  )
  report: dict[str, Any] = {
    'run': run,
    'step': collapsing.step,
    'data': {
      'mixtures': dataset,
      'split': values.split,
      'examples_a_task': values.examples,
      'datasets': list(routing),
    },
    'weights': {router: p.tolist() for router, p in sorted(weights.items())},
  }
  _write(values.to, report)
  say(f'Wrote {values.to}: {count:,} parameters.')
  if values.evaluate:
    accuracy = _evaluate(collapsing)
    report['accuracy'] = {
      'mixture': values.evaluate,
      'split': values.evaluate_split,
      **{name: dataclasses.asdict(of) for name, of in accuracy.items()},
    }
    _write(values.to, report)
    _tell(values, accuracy)


def _flags() -> flags.FlagValues:
  values = arguments.to_flag()
  arguments.of_run(values)
  arguments.add(values, flags.DEFINE_list, 'mixture')
  arguments.add(values, flags.DEFINE_string, 'split', 'train')
  arguments.add(values, flags.DEFINE_integer, 'examples', 64, lower_bound=1)
  arguments.add(values, flags.DEFINE_string, 'evaluate')
  arguments.add(values, flags.DEFINE_string, 'evaluate_split', 'validation')
  arguments.add(values, flags.DEFINE_bool, 'by_task', False)
  arguments.add(values, flags.DEFINE_list, 'seqio_additional_cache_dirs', [])
  return values


class _Collapsing:
  """A run that is written with its routers fixed, once or several times.

  Attributes:
    run: the folder of the run.
    values: the flags of the command.
    bound: the configuration of the run.
    step: the step of its checkpoint.
    source: where the run is loaded from.
  """

  def __init__(self, run: str, values: Any):
    """Reads the run.

    Raises:
      UserError: unless it is a run whose routers can be fixed.
    """
    self.run, self.values = run, values
    self._trained, self._description = exporting.read(
      run, values.step, values.gin_file
    )
    self.step = self._description.step
    self.bound = configuration.read_config(run, values.gin_file)
    self.source = ModelSource.of_run(run, self.bound, self.step)
    arguments.check_apart(values.to, self.bound['initial_checkpoint_path'])
    fixed_routers.check(self.bound['model'].module.config)
    leaves = parameters.flatten(self._trained)
    if others := [path for path in leaves if not parameters.is_adapter(path)]:
      raise UserError(
        f'{run} trained more than adapters, such as {others[0]}: it does not '
        'collapse to adapters on the base that it began from.'
      )

  def write(
    self, folder: str, weights: Mapping[str, np.ndarray], over: str
  ) -> int:
    """Writes exported adapters, and returns how many parameters they have.

    Args:
      folder: must not exist.
      weights: see `fixed_routers.collapse`.
      over: the examples that the weights are means over, for people to read.
    """
    network, plain = fixed_routers.collapse(
      self.bound['model'].module.config, self._trained, weights
    )
    exported.save(
      folder,
      plain,
      dataclasses.replace(
        self._description,
        method=describe_run(network, parameters.TRAINABLE_ADAPTERS),
      ),
      {
        **exporting.training_of(
          self.run, self._description, self.bound['dataset']
        ),
        'collapsed': f'routers fixed at their mean weights over {over}',
      },
      *exporting.texts_of(self.bound['dataset']),
      overwrite=self.values.overwrite,
    )
    return parameters.count(plain)

  def evaluate_run(self, output: str) -> Evaluation:
    """Evaluates the run itself."""
    return self._evaluate(self.source, output, self.values.evaluate)

  def evaluate(self, folder: str, output: str, mixture: str) -> Evaluation:
    """Evaluates what `write` wrote."""
    model = self.bound['model']
    network = exporting.network_of(exported.describe(folder))
    config = dataclasses.replace(model.module.config, adapters=network.adapters)
    plain = EncoderDecoderModel(
      model.module.clone(config=config), model.z_loss, model.label_smoothing
    )
    source = dataclasses.replace(
      self.source,
      model=plain,
      checkpoint_path=folder,
      trainable=parameters.TRAINABLE_ADAPTERS,
      step=None,
    )
    return self._evaluate(source, output, mixture)

  def _evaluate(
    self, source: ModelSource, output: str, mixture: str
  ) -> Evaluation:
    from moe_lite.evaluation import loop

    dataset = self.bound['dataset']
    return loop.evaluate(
      **vars(source),
      output_dir=output,
      mixture_or_task_name=mixture,
      task_feature_lengths=dataset.task_feature_lengths,
      split=self.values.evaluate_split,
      use_cached=dataset.use_cached,
    )


def _evaluate(collapsing: _Collapsing) -> dict[str, Averages]:
  """Measures the accuracy of the run, and of what is written."""
  values = collapsing.values
  accuracy = {
    _BEFORE: _average(collapsing.evaluate_run(f'{values.to}/{_BEFORE}')),
    _AFTER: _average(
      collapsing.evaluate(values.to, f'{values.to}/{_AFTER}', values.evaluate)
    ),
  }
  if values.by_task:
    accuracy[_BY_TASK] = _evaluate_by_task(collapsing)
  return accuracy


def _tell(values: Any, accuracy: Mapping[str, Averages]) -> None:
  """Writes accuracies into the model card, and says them."""
  medians = {name: f'{of.median:.2f}' for name, of in accuracy.items()}
  where = f'{values.evaluate}, {values.evaluate_split}'
  beside = f'the routed mixture: {medians[_BEFORE]}'
  said = f'{medians[_BEFORE]} before, {medians[_AFTER]} after'
  if values.by_task:
    beside += f'; each task at its own means: {medians[_BY_TASK]}'
    said += f', {medians[_BY_TASK]} with each task at its own means'
  exported.note(
    values.to, {f'accuracy on {where}': f'{medians[_AFTER]} ({beside})'}
  )
  say(f'Accuracy on {where}: {said}.')


def _evaluate_by_task(collapsing: _Collapsing) -> Averages:
  """Measures the accuracy of an oracle that knows the task and nothing else.

  Each task is evaluated with every router fixed at its mean over the examples
  of that task, from the split that is evaluated.
  """
  from moe_lite.evaluation import routing_usage

  values = collapsing.values
  trained, reader = routing_usage.open_run(
    collapsing.run, [values.evaluate], collapsing.step, values.gin_file
  )
  examples = {}
  for task in reader.tasks:
    alone = dataclasses.replace(reader, tasks=[task])
    read = alone.read(values.evaluate_split, values.examples)
    examples[task.name] = [x for members in read.values() for x in members]
  routing = routing_usage.measure(trained, reader, examples)
  tasks: list[TaskResult] = []
  for name, usages in routing.items():
    folder = f'{values.to}/{_BY_TASK}/{name}'
    over = f'{name}, {values.evaluate_split}, {values.examples} examples'
    collapsing.write(folder, fixed_routers.mean_weights({name: usages}), over)
    tasks += collapsing.evaluate(folder, f'{folder}/eval', name).tasks
  return _average(summarize(tasks))


def _average(found: Evaluation | Summary) -> Averages:
  """The average over tasks. `_check_ranked` made sure that there is one."""
  assert found.average is not None
  return found.average


def _check_ranked(name: str) -> None:
  """Raises UserError unless all tasks of a mixture have answer choices."""
  from moe_lite.data import catalog, dataset

  provider = dataset.find(name)
  tasks = getattr(provider, 'tasks', [provider])
  if any(not task.name.endswith(catalog.SCORE_EVAL) for task in tasks):
    raise UserError(
      f'--evaluate={name} has tasks without answer choices, which give no '
      f'accuracy: name a mixture of {catalog.SCORE_EVAL} tasks.'
    )


def _write(folder: str, report: Mapping[str, Any]) -> None:
  path = epath.Path(folder) / REPORT
  replace_text(path, json_text.dumps(report, indent=2) + '\n')
