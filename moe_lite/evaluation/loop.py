"""Evaluates a run, or its frozen base, on a SeqIO task or mixture.

A task with one row for each answer choice is ranked. For any other task text is
generated, and measured by the task's own `metric_fns`. Every finished task is
written down, and a second call with the same settings does not repeat it.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import seqio

from moe_lite.core import locks, parameters, partitioning, progress
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.data import catalog, dataset
from moe_lite.evaluation import results, results_page
from moe_lite.evaluation.measuring import Ranker, has_choices, measure_text
from moe_lite.evaluation.results import Evaluation, Settings
from moe_lite.evaluation.results_folder import ResultsFolder
from moe_lite.inference.generation import Generator, describe_decoder
from moe_lite.inference.padding import Shapes
from moe_lite.inference.source import ModelSource
from moe_lite.models import decoding
from moe_lite.models.model import EncoderDecoderModel


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
  step: int | None = None,
  split: str = 'validation',
  batch_size: int = 32,
  use_cached: bool = False,
  length_normalized: bool = False,
  decode_fn: Callable[..., Any] = decoding.greedy,
  num_decodes: int = 1,
  seed: int = 0,
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
    step: see `ModelSource`.
    split: the split of every task.
    batch_size: the number of examples in a batch.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    length_normalized: whether to rank choices by the log-probability of a
      target token, and not by that of the whole choice.
    decode_fn: the decoder for tasks without answer choices; see `decoding`.
    num_decodes: the beams of its search.
    seed: the seed of its draws.

  Returns:
    What `results.json` holds. It is whole on process 0 alone, which reads what
    an earlier call finished.

  Raises:
    UserError: if the checkpoint, the tasks and the settings do not fit.
  """
  provider = dataset.find(mixture_or_task_name)
  dataset.check_split(provider, split, use_cached)
  dataset.check_vocabulary(provider, model.module.config.vocab_size)
  tasks = _tasks(provider, split)
  names = [task.name for task in tasks]
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

  settings = Settings(
    mixture_or_task_name=mixture_or_task_name,
    split=split,
    task_feature_lengths=dict(task_feature_lengths),
    use_cached=use_cached,
    length_normalized=length_normalized,
    decoder=describe_decoder(decode_fn),
    num_decodes=num_decodes,
    seed=seed,
    base_dtype=base_dtype,
    vocabulary=_describe_vocabulary(provider),
    activation_dtype=str(np.dtype(model.module.config.dtype)),
  )
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
  try:
    for task in tasks:
      if task.name in done:
        continue
      start = time.monotonic()
      rows = dataset.read(
        task,
        split,
        task_feature_lengths,
        use_cached,
        vocab_size=model.module.config.vocab_size,
      )
      if has_choices(rows[0]):
        found = ranker.measure(task, rows)
      else:
        found = measure_text(task, rows, generator)
      seconds = time.monotonic() - start
      folder.add(dataclasses.replace(found, seconds=seconds))
      bar.advance()
      bar.report(**{found.metric: found.value})
  finally:
    bar.close()

  evaluation = folder.write(names, complete=True)
  say(
    results_page.summary(evaluation),
    f'Results are in {output_dir}: {results.JSON}, {results.MARKDOWN}, '
    f'{results.PLOT}.',
  )
  return evaluation


def _tasks(
  provider: seqio.Task | seqio.Mixture, split: str
) -> list[seqio.Task]:
  """The tasks that have the split, by name; one of a mixture may lack it."""
  tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
  tasks = sorted(tasks, key=lambda task: task.name)
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


def _describe_vocabulary(provider: seqio.Task | seqio.Mixture) -> str:
  vocabulary = provider.output_features['targets'].vocabulary
  return f'{type(vocabulary).__name__}, {vocabulary.vocab_size} ids'


def _published(settings: Settings) -> catalog.PublishedTable | None:
  """What others reported, if it can be compared with these settings."""
  # They measured the validation split, by sums of log-probabilities.
  if settings.split != 'validation' or settings.length_normalized:
    return None
  return catalog.published(settings.mixture_or_task_name)
