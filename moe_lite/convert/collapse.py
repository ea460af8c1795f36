"""The verb `collapse`: makes plain IA3 or LoRA of a run that routes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from moe_lite.checkpoints import exported, fixed_routers
from moe_lite.core import json_text, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.progress import say
from moe_lite.evaluation.exporting import Handed
from moe_lite.evaluation.results import Averages, TaskResult
from moe_lite.evaluation.routed_run import RoutedRun, average, check_ranked
from moe_lite.evaluation.summaries import summarize
from moe_lite.process import arguments, cli
from moe_lite.process.quiet_tensorflow import import_tensorflow

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

  routed = RoutedRun(run, values.step, values.gin_file)
  arguments.check_apart(values.to, routed.base)
  if values.evaluate:
    check_ranked(values.evaluate)
  routing = routing_usage.measure_run(
    run,
    values.mixture,
    values.split,
    values.examples,
    routed.step,
    values.gin_file,
  )
  weights = fixed_routers.mean_weights(routing)
  dataset = ', '.join(values.mixture or [routed.data])
  over = f'{dataset}, {values.split}, {values.examples} examples a task'
  count = _save(values, values.to, routed.fixed(weights, over))
  report: dict[str, Any] = {
    'run': run,
    'step': routed.step,
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
    accuracy = _evaluate(routed, values)
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


def _save(values: Any, folder: str, handed: Handed) -> int:
  """Writes exported adapters, and returns how many parameters they have."""
  exported.save(
    folder,
    handed.leaves,
    handed.description,
    handed.training,
    handed.vocabulary,
    handed.text,
    overwrite=values.overwrite,
  )
  return parameters.count(handed.leaves)


def _evaluate(routed: RoutedRun, values: Any) -> dict[str, Averages]:
  """Measures the accuracy of the run, and of what is written."""
  what = values.evaluate, values.evaluate_split
  before = routed.evaluate(f'{values.to}/{_BEFORE}', *what)
  after = routed.evaluate_fixed(values.to, f'{values.to}/{_AFTER}', *what)
  accuracy = {_BEFORE: average(before), _AFTER: average(after)}
  if values.by_task:
    accuracy[_BY_TASK] = _evaluate_by_task(routed, values)
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


def _evaluate_by_task(routed: RoutedRun, values: Any) -> Averages:
  """Measures the accuracy of an oracle that knows the task and nothing else.

  Each task is evaluated with every router fixed at its mean over the examples
  of that task, from the split that is evaluated.
  """
  from moe_lite.evaluation import routing_usage

  trained, reader = routing_usage.open_run(
    routed.run, [values.evaluate], routed.step, values.gin_file
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
    weights = fixed_routers.mean_weights({name: usages})
    _save(values, folder, routed.fixed(weights, over))
    tasks += routed.evaluate_fixed(
      folder, f'{folder}/eval', name, values.evaluate_split
    ).tasks
  return average(summarize(tasks))


def _write(folder: str, report: Mapping[str, Any]) -> None:
  path = epath.Path(folder) / REPORT
  replace_text(path, json_text.dumps(report, indent=2) + '\n')
