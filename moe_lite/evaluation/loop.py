"""Evaluates a run, or its frozen base, on a SeqIO task or mixture.

A task with one row for each answer choice is ranked. For any other task text is
generated, and measured by the task's own `metric_fns`. Every finished task is
written down, and a second call with the same settings does not repeat it.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import seqio

from moe_lite.checkpoints import runs
from moe_lite.core import (
  ahead,
  locks,
  parameters,
  partitioning,
  progress,
  tables,
)
from moe_lite.core.progress import say
from moe_lite.data import catalog, dataset
from moe_lite.data.task_ids import numbers_for
from moe_lite.evaluation import results, results_folder, results_page
from moe_lite.evaluation.measuring import Ranker, has_choices, measure_text
from moe_lite.evaluation.results import Evaluation, Settings, TaskResult
from moe_lite.evaluation.results_folder import ResultsFolder
from moe_lite.evaluation.rows import first_examples, tasks_with
from moe_lite.inference.generation import Generator, describe_decoder
from moe_lite.inference.padding import Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.models import decoding
from moe_lite.models.model import EncoderDecoderModel

# The CHECKPOINT_STEP that stands for every checkpoint of a run.
ALL_STEPS = 'all'


@locks.owning('output_dir', 'EVAL_OUTPUT_DIR', 'An evaluation')
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
  step: int | Literal['all'] | None = None,
  split: str = 'validation',
  batch_size: int = 32,
  use_cached: bool = False,
  length_normalized: bool = False,
  decode_fn: Callable[..., Any] = decoding.greedy,
  num_decodes: int = 1,
  seed: int = 0,
  num_examples: int | None = None,
) -> Evaluation:
  """Evaluates, or goes on evaluating, into `output_dir`.

  Args:
    model: see `ModelSource`.
    checkpoint_path: see `ModelSource`.
    output_dir: the folder of `results.json`, `results.md` and `prompts.png`.
    mixture_or_task_name: what to evaluate on.
    task_feature_lengths: {'inputs': L, 'targets': T}, in ids; longer inputs and
      targets are trimmed.
    initial_checkpoint_path: see `ModelSource`.
    trainable: see `ModelSource`.
    base_dtype: see `ModelSource`.
    mesh: see `ModelSource`.
    fully_sharded: see `ModelSource`.
    step: see `ModelSource`. 'all' evaluates every checkpoint of a run, each in
      a folder of its own within `output_dir`. Those that are done are left
      alone.
    split: the split of every task.
    batch_size: the number of examples in a batch.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    length_normalized: whether to rank choices by the log-probability of a
      target token, and not by that of the whole choice.
    decode_fn: the decoder for tasks without answer choices; see `decoding`.
    num_decodes: the beams of its search.
    seed: the seed of its draws.
    num_examples: how many examples of each task to measure, the first ones;
      None takes all.

  Returns:
    What `results.json` holds, with step 'all' that of the last checkpoint. It
    is whole on process 0 alone, which reads what an earlier call finished.

  Raises:
    UserError: if the checkpoint, the tasks and the settings do not fit.
  """
  given = dict(locals())  # A copy: a debugger would add to it.
  if step == ALL_STEPS:
    return _evaluate_all(**given)
  provider = dataset.find(mixture_or_task_name)
  dataset.check_split(provider, split, use_cached)
  dataset.check_vocabulary(provider, model.module.config.vocab_size)
  tasks = tasks_with(provider, split)
  names = [task.name for task in tasks]
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
  shapes = Shapes(
    batch_size,
    task_feature_lengths['inputs'],
    task_feature_lengths['targets'],
    parts=trained.mesh.shape['data'],
  )

  settings = _settings(provider, **given)
  folder = ResultsFolder(
    output_dir, trained.facts, settings, _published(settings)
  )
  done = folder.finished(names)
  say(
    f'{checkpoint_path} on {mixture_or_task_name}, {len(tasks)} tasks'
    + (f', {len(done)} of them done before' if done else '')
  )

  ranker = Ranker(
    encode=trained.compile(trained.model.encode, gather=False),
    score_choices=trained.compile(trained.model.score_choices),
    shapes=shapes,
    length_normalized=length_normalized,
  )
  generator = Generator(trained, shapes, decode_fn, num_decodes, seed)
  bar = progress.Progress(len(tasks), len(done), unit='task')
  numbers = numbers_for(provider, trained.tasks)

  def read(task: seqio.Task) -> list[dict[str, Any]]:
    return dataset.read(
      task,
      split=split,
      lengths=task_feature_lengths,
      use_cached=use_cached,
      vocab_size=model.module.config.vocab_size,
      number=numbers.get(task.name),
    )

  waiting = [task for task in tasks if task.name not in done]
  start = time.monotonic()
  try:
    # A host reads the next task while devices score this one.
    for task, rows in ahead.prepared(waiting, read):
      rows = first_examples(rows, num_examples)
      if has_choices(rows[0]):
        found, lines = ranker.measure(task, rows)
      else:
        found, lines = measure_text(task, rows, generator)
      start, before = time.monotonic(), start
      seconds = start - before
      folder.add(dataclasses.replace(found, seconds=seconds), lines)
      bar.advance()
      bar.report(_name(found), **{found.metric: found.value})
  finally:
    bar.close()
    folder.flush()

  evaluation = folder.write(names, complete=True)
  say(
    results_page.summary(evaluation),
    f'Results are in {output_dir}: {results.JSON}, {results.MARKDOWN}, '
    f'{results.PLOT}, {results.PREDICTIONS}.',
  )
  return evaluation


def _evaluate_all(
  checkpoint_path: str, output_dir: str, **given: Any
) -> Evaluation:
  """Evaluates each checkpoint of a run; see `evaluate`."""
  settings = _settings(dataset.find(given['mixture_or_task_name']), **given)
  found: dict[int, Evaluation] = {}
  for step in runs.steps(checkpoint_path):
    folder = f'{output_dir}/step_{step}'
    fingerprint = functools.partial(_fingerprint, checkpoint_path, step)
    done = results_folder.find_complete(folder, settings, step, fingerprint)
    if done is None:
      given['step'] = step
      done = evaluate(
        checkpoint_path=checkpoint_path, output_dir=folder, **given
      )
    else:
      say(f'Step {step} is done: {folder}.')
    found[step] = done
  rows = [
    (str(step), f'{one.average.median:.2f}' if one.average else '')
    for step, one in found.items()
  ]
  say(
    tables.table(('step', 'average'), rows),
    f'All of them side by side: python -m moe_lite.report {output_dir}/step_*',
  )
  return found[max(found)]


def _name(found: TaskResult) -> str:
  """What progress calls a task: its data set and its prompt."""
  return (
    f'{found.dataset}, prompt {found.template}'
    if found.template
    else (found.task)
  )


def _fingerprint(run: str, step: int) -> str:
  return parameters.fingerprint(runs.restore_trainable(run, step)[0])


def _settings(
  provider: seqio.Task | seqio.Mixture,
  model: EncoderDecoderModel,
  task_feature_lengths: Mapping[str, int],
  decode_fn: Callable[..., Any],
  **given: Any,
) -> Settings:
  """How a checkpoint is evaluated, by the arguments of `evaluate`."""
  names = {field.name for field in dataclasses.fields(Settings)}
  return Settings(
    **{x: y for x, y in given.items() if x in names - {'batch_size'}},
    task_feature_lengths=dict(task_feature_lengths),
    decoder=describe_decoder(decode_fn),
    vocabulary=_describe_vocabulary(provider),
    activation_dtype=str(np.dtype(model.module.config.dtype)),
  )


def _describe_vocabulary(provider: seqio.Task | seqio.Mixture) -> str:
  vocabulary = provider.output_features['targets'].vocabulary
  return f'{type(vocabulary).__name__}, {vocabulary.vocab_size} ids'


def _published(settings: Settings) -> catalog.PublishedTable | None:
  """What others reported, if it can be compared with these settings."""
  # They measured the validation split, by sums of log-probabilities.
  is_other = settings.length_normalized or settings.num_examples is not None
  if settings.split != 'validation' or is_other:
    return None
  return catalog.published(settings.mixture_or_task_name)
