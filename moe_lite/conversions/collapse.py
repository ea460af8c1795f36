"""A run's routed mixture to plain IA3 or LoRA, with accuracies beside it."""

import functools
import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from moe_lite import cli, parameters, run_folder
from moe_lite import collapse as mixtures
from moe_lite.checkpoints import portable
from moe_lite.conversions import adapters, arguments
from moe_lite.errors import UserError
from moe_lite.models import EncoderDecoderModel
from moe_lite.progress import say

# What was fixed and measured, beside the adapters.
REPORT = 'collapse.json'
_BEFORE, _AFTER = 'before', 'after'


def collapse(argv: Sequence[str]) -> None:
  """See `convert`; raises UserError for a mistake."""
  values = arguments.to_flag()
  flags.DEFINE_integer('step', None, 'Of a checkpoint.', flag_values=values)
  flags.DEFINE_list('mixture', None, 'Mixtures or tasks.', values)
  flags.DEFINE_string('split', 'train', 'Of every task.', values)
  flags.DEFINE_integer('examples', 64, 'Of every task.', 1, flag_values=values)
  flags.DEFINE_string('evaluate', None, 'A mixture or task.', values)
  flags.DEFINE_string('evaluate_split', 'validation', 'Of its tasks.', values)
  flags.DEFINE_list('seqio_additional_cache_dirs', [], 'Folders.', values)
  run = arguments.one_path('collapse', argv, values)
  cli.import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  from moe_lite import routing_usage

  trained, description = adapters.read(run, values.step)
  bound = run_folder.read_config(run)
  arguments.check_apart(values.to, bound['initial_checkpoint_path'])
  network = bound['model'].module.config
  mixtures.check(network)
  leaves = parameters.flatten(trained)
  if others := [path for path in leaves if not parameters.is_adapter(path)]:
    raise UserError(
      f'{run} trained more than adapters, such as {others[0]}: it does not '
      'collapse to adapters on the base that it began from.'
    )
  if values.evaluate:
    _check_ranked(values.evaluate)
  routing = routing_usage.measure_run(
    run, values.mixture, values.split, values.examples, description['step']
  )
  weights = mean_weights(routing)
  network, plain = mixtures.collapse(network, trained, weights)
  data = ', '.join(values.mixture or [bound['dataset'].mixture_or_task_name])
  over = f'{data}, {values.split}, {values.examples} examples a task'
  portable.save(
    values.to,
    plain,
    {
      **description,
      **run_folder.describe_run(network, parameters.TRAINABLE_ADAPTERS),
    },
    {
      **adapters.training_of(run, description, bound['dataset']),
      'collapsed': f'routers fixed at their mean weights over {over}',
    },
    *adapters.texts_of(bound['dataset']),
    overwrite=values.overwrite,
  )
  report: dict[str, Any] = {
    'run': run,
    'step': description['step'],
    'data': {
      'mixtures': data,
      'split': values.split,
      'examples_a_task': values.examples,
      'datasets': list(routing),
    },
    'weights': {router: p.tolist() for router, p in sorted(weights.items())},
  }
  _write(values.to, report)
  say(f'Wrote {values.to}: {parameters.count(plain):,} parameters.')
  if values.evaluate:
    before, after = _accuracies(run, values, bound, network, description)
    report['accuracy'] = {
      'mixture': values.evaluate,
      'split': values.evaluate_split,
      _BEFORE: before,
      _AFTER: after,
    }
    _write(values.to, report)
    where = f'{values.evaluate}, {values.evaluate_split}'
    portable.note(
      values.to,
      {
        f'accuracy on {where}': f'{after["median"]:.2f} (the routed mixture: '
        f'{before["median"]:.2f})'
      },
    )
    say(
      f'Accuracy on {where}: {before["median"]:.2f} before, '
      f'{after["median"]:.2f} after.'
    )


def mean_weights(
  routing: Mapping[str, Mapping[str, Any]],
) -> dict[str, np.ndarray]:
  """Router to its experts' mean weights [E], over all tokens there are.

  Args:
    routing: see `routing_usage.measure`.
  """
  measured = list(routing.values())
  totals = {
    router: functools.reduce(operator.add, [x[router] for x in measured])
    for router in measured[0]
  }
  return {router: x.weight / x.tokens for router, x in totals.items()}


def _check_ranked(name: str) -> None:
  from moe_lite import data
  from tasks import catalog

  provider = data.find(name)
  tasks = getattr(provider, 'tasks', [provider])
  if any(not task.name.endswith(catalog.SCORE_EVAL) for task in tasks):
    raise UserError(
      f'--evaluate={name} has tasks without answer choices, which give no '
      f'accuracy: name a mixture of {catalog.SCORE_EVAL} tasks.'
    )


def _accuracies(
  run: str,
  values: Any,
  bound: Mapping[str, Any],
  network: Any,
  description: Mapping[str, Any],
) -> list[dict[str, Any]]:
  """The averages of the run and of what it collapsed to, same examples."""
  from moe_lite import evaluation

  model = bound['model']
  plain = EncoderDecoderModel(
    model.module.clone(config=network), model.z_loss, model.label_smoothing
  )
  sources = (
    (_BEFORE, model, run, description['step']),
    (_AFTER, plain, values.to, None),
  )
  outcomes = [
    evaluation.evaluate(
      evaluated,
      path,
      f'{values.to}/{name}',
      values.evaluate,
      bound['dataset'].task_feature_lengths,
      bound['initial_checkpoint_path'],
      trainable=trainable,
      base_dtype=bound['base_dtype'],
      mesh=bound.get('mesh'),
      fully_sharded=bound.get('fully_sharded', False),
      step=step,
      split=values.evaluate_split,
      use_cached=bound['dataset'].use_cached,
    )
    for (name, evaluated, path, step), trainable in zip(
      sources,
      (bound['trainable'], parameters.TRAINABLE_ADAPTERS),
      strict=True,
    )
  ]
  return [outcome['average'] for outcome in outcomes]


def _write(folder: str, report: Mapping[str, Any]) -> None:
  path = epath.Path(folder) / REPORT
  run_folder.replace_text(path, json.dumps(report, indent=2) + '\n')
