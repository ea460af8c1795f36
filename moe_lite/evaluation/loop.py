"""Evaluates a run, or its frozen base, on a SeqIO task or mixture.

A task with one row per answer choice is rank-classified; any other is
generated for, and measured by its own `metric_fns`. Every finished task is
written down, and a second call with the same settings does not repeat it.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from moe_lite.core import parameters, partitioning, progress
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data import catalog, dataset
from moe_lite.evaluation import results
from moe_lite.evaluation.results_folder import PartialResults
from moe_lite.inference import scoring
from moe_lite.inference.generation import Generator, describe_decoder
from moe_lite.inference.padding import Input, Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.models import decoding
from moe_lite.models.model import EncoderDecoderModel


def evaluate(
  model: EncoderDecoderModel,
  checkpoint_path: str,
  output_dir: str,
  mixture_or_task_name: str,
  task_feature_lengths: Mapping[str, int],
  initial_checkpoint_path: str,
  trainable: str = parameters.TRAINABLE_ADAPTERS,
  base_dtype: str = 'bfloat16',
  mesh: partitioning.MeshShape = None,
  fully_sharded: bool = False,
  step: int | None = None,
  split: str = 'validation',
  batch_size: int = 32,
  use_cached: bool = False,
  length_normalized: bool = False,
  decode_fn: Callable[..., Any] = decoding.greedy,
  num_decodes: int = 1,
  seed: int = 0,
) -> dict[str, Any]:
  """Evaluates, or goes on evaluating, into `output_dir`.

  Args:
    model: see `ModelSource`.
    checkpoint_path: see `ModelSource`.
    output_dir: gets `results.json`, `results.md` and `prompts.png`.
    mixture_or_task_name: what to evaluate on.
    task_feature_lengths: {'inputs': L, 'targets': T}; longer ones are trimmed.
    initial_checkpoint_path: see `ModelSource`.
    trainable: see `ModelSource`.
    base_dtype: see `ModelSource`.
    mesh: see `ModelSource`.
    fully_sharded: see `ModelSource`.
    step: see `ModelSource`.
    split: of every task.
    batch_size: examples a batch.
    use_cached: read what `seqio_cache_tasks` wrote.
    length_normalized: rank choices by log-probability per target token.
    decode_fn: for tasks without answer choices; see `decoding`.
    num_decodes: beams of its search.
    seed: of its draws.

  Returns:
    What `results.json` holds; on process 0, which alone reads and writes it.

  Raises:
    UserError: if the configuration asks for what cannot be.
  """
  provider = dataset.find(mixture_or_task_name)
  dataset.check_split(provider, split, use_cached)
  dataset.check_vocabulary(provider, model.module.config.vocab_size)
  tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
  tasks = sorted(tasks, key=lambda task: task.name)
  tasks = _with_split(tasks, split)
  shapes = Shapes(
    batch_size, task_feature_lengths['inputs'], task_feature_lengths['targets']
  )
  trained = ModelSource(
    model,
    checkpoint_path,
    initial_checkpoint_path,
    trainable,
    base_dtype,
    mesh,
    step,
    fully_sharded,
  ).load()
  trained.check_batch(batch_size)
  vocabulary = provider.output_features['targets'].vocabulary
  settings = {
    'mixture_or_task_name': mixture_or_task_name,
    'split': split,
    'task_feature_lengths': dict(task_feature_lengths),
    'use_cached': use_cached,
    'length_normalized': length_normalized,
    'decoder': describe_decoder(decode_fn),
    'num_decodes': num_decodes,
    'seed': seed,
    'base_dtype': base_dtype,
    'vocabulary': f'{type(vocabulary).__name__}, {vocabulary.vocab_size} ids',
    'activation_dtype': str(np.dtype(model.module.config.dtype)),
  }
  # Those are of the validation split, and of sums of log-probabilities.
  published = None
  if split == 'validation' and not length_normalized:
    published = catalog.published(mixture_or_task_name)
  outcome = PartialResults(
    output_dir,
    trained.facts,
    settings,
    published and dataclasses.asdict(published),
  )
  names = [task.name for task in tasks]
  done = outcome.finished(names)
  say(
    f'{checkpoint_path} on {mixture_or_task_name}, {len(tasks)} tasks'
    + (f', {len(done)} of them done before' if done else '')
  )
  rankers = (
    trained.compile(trained.model.encode, gather=False),
    trained.compile(trained.model.score_choices),
  )
  generator = Generator(trained, shapes, decode_fn, num_decodes, seed)
  bar = progress.Progress(len(tasks), len(done), unit='task')
  try:
    for task in tasks:
      if task.name in done:
        continue
      start = time.monotonic()
      rows = dataset.read(task, split, task_feature_lengths, use_cached)
      if set(scoring.COLUMNS) <= rows[0].keys():
        record = _rank(task.name, rows, rankers, shapes, length_normalized)
      else:
        record = _generate(task, rows, generator)
      record['seconds'] = time.monotonic() - start
      outcome.add(record)
      bar.advance()
      bar.report(**{record['metric']: record['value']})
  finally:
    bar.close()
  complete = outcome.write(names, complete=True)
  say(
    results.markdown({**complete, 'tasks': []}).partition('\n| prompt')[0],
    f'Results are in {output_dir}: {results.JSON}, {results.MARKDOWN}, '
    f'{results.PLOT}.',
  )
  return complete


def _rank(
  name: str,
  rows: Sequence[Mapping[str, Any]],
  rankers: tuple[scoring.Encode, scoring.ScoreChoices],
  shapes: Shapes,
  length_normalized: bool,
) -> dict[str, Any]:
  collected = scoring.collect(name, rows)
  scores = scoring.score(collected, *rankers, shapes)
  ranking = scoring.rank(collected, scores, length_normalized)
  metrics = {results.ACCURACY: ranking.accuracy}
  if ranking.f1 is not None:
    metrics['f1'] = ranking.f1
  return {
    **_describe(name, ranking.chance),
    'kind': 'rank classification',
    'metric': results.ACCURACY,
    'value': ranking.accuracy,
    'metrics': metrics,
    'examples': ranking.examples,
    'rows': ranking.rows,
    'none_correct': ranking.none_correct,
    'several_correct': ranking.several_correct,
    'trimmed_targets': sum(
      decoding.EOS_ID not in targets[-1:] for targets in collected.targets
    ),
  }


def _generate(
  task: seqio.Task, rows: Sequence[Mapping[str, Any]], generator: Generator
) -> dict[str, Any]:
  if not task.predict_metric_fns:
    twin = task.name + catalog.SCORE_EVAL
    hint = (
      f' Did you mean {twin!r}?' if twin in seqio.TaskRegistry.names() else ''
    )
    raise UserError(
      f'Task {task.name!r} has neither answer choices to rank nor metric_fns '
      f'for generated text.{hint}'
    )
  vocabulary = task.output_features['targets'].vocabulary
  # By length, so that little is padded.
  rows = sorted(rows, key=lambda row: len(row['inputs']))
  targets, predictions = [], []
  for batch in generator(map(Input.of, rows)):
    for ids in batch:
      row = rows[len(predictions)]
      target = row.get('targets_pretokenized')
      if target is None:
        target = vocabulary.decode([int(i) for i in row['targets']])
      targets.append(
        task.postprocess_fn(
          tf.compat.as_text(target), example=row, is_target=True
        )
      )
      predictions.append(
        task.postprocess_fn(
          vocabulary.decode([int(i) for i in ids]), example=row, is_target=False
        )
      )
  metrics = {}
  for metric_fn in task.predict_metric_fns:
    for key, value in metric_fn(targets, predictions).items():
      # SeqIO's metrics may be wrapped; what is no number is not for a table.
      value = getattr(value, 'value', value)
      if np.isscalar(value) and not isinstance(value, str | bytes):
        metrics[key] = np.asarray(value, float).item()
  if not metrics:
    raise UserError(f'The metric_fns of task {task.name!r} gave no number.')
  if bad := [key for key, value in metrics.items() if not np.isfinite(value)]:
    raise UserError(
      f'Task {task.name!r}: its metric {bad[0]!r} is {metrics[bad[0]]}, over '
      f'{len(rows)} examples. Mend the metric, or leave the task out.'
    )
  metric = next(iter(metrics))
  return {
    **_describe(task.name, None),
    'kind': 'generation',
    # Accuracy alone is that of ranking, which the averages are made of.
    'metric': f'generated {metric}' if metric == results.ACCURACY else metric,
    'value': metrics[metric],
    'metrics': metrics,
    'examples': len(rows),
  }


def _describe(name: str, chance: float | None) -> dict[str, Any]:
  """The task's place in its suite; a task of no suite is its own data set."""
  info = catalog.lookup(name)
  if info is None:
    info = catalog.TaskInfo(
      name=name,
      dataset=name.removesuffix(catalog.SCORE_EVAL),
      cluster='',
      template='',
      chance=chance,
      held_out=False,
    )
  return {
    'task': name,
    'dataset': info.dataset,
    'column': info.column,
    'cluster': info.cluster,
    'template': info.template,
    'held_out': info.held_out,
    'chance': info.chance if chance is None else chance,
  }


def _with_split(tasks: Sequence[seqio.Task], split: str) -> list[seqio.Task]:
  """The tasks that have the split; one of a mixture may not."""
  found = [task for task in tasks if split in dataset.splits_of(task)]
  if not found:
    splits = sorted(set().union(*map(dataset.splits_of, tasks)))
    raise UserError(
      f'No task has a split {split!r}; there is {", ".join(splits) or "none"}. '
      'Give --gin.EVAL_SPLIT.'
    )
  if others := [task.name for task in tasks if task not in found]:
    say(
      f'{len(others)} of {len(tasks)} tasks have no split {split!r} and are '
      f'left out: {", ".join(others)}.'
    )
  return found
