"""Evaluations that were never run, for tests of what is made of them."""

import dataclasses

from moe_lite.checkpoints.description import BaseInfo
from moe_lite.data.catalog import MEAN, Published, PublishedTable
from moe_lite.evaluation import results, results_file
from moe_lite.evaluation.results import Evaluation, Settings, TaskResult
from moe_lite.evaluation.summaries import summarize
from moe_lite.inference.facts import Facts

MOV = {'key': 'MoV(num_experts=10, router=SoftRouter(num_experts=10))'}
LORA = {'key': 'LoRA(rank=4, alpha=16.0)'}


def task(dataset, value, column=None, **changes):
  """A ranked prompt of a data set."""
  return TaskResult(
    **{
      'task': f'{dataset}_{value}',
      'dataset': dataset,
      'column': column,
      'cluster': 'c',
      'template': 't',
      'held_out': True,
      'chance': 50.0,
      'kind': 'rank classification',
      'metric': results.ACCURACY,
      'value': value,
      'metrics': {results.ACCURACY: value},
      'examples': 10,
      'rows': 20,
      'none_correct': 0,
      'several_correct': 0,
      'trimmed_targets': 0,
      'seconds': 1.0,
      **changes,
    }
  )


def facts(method=(), trained=0, **changes):
  """A run of the method, or the frozen base where nothing is trained."""
  return Facts(
    **{
      'checkpoint': 'runs/x' if trained else 'base',
      'step': 7 if trained else None,
      'base': BaseInfo('mini', 'abc'),
      'method': dict(method),
      'trainable_parameters': trained,
      'base_parameters': 1000,
      'trainable_fingerprint': 'def' if trained else None,
      **changes,
    }
  )


def settings(**changes):
  return Settings(
    **{
      'mixture_or_task_name': 'suite',
      'split': 'validation',
      'task_feature_lengths': {'inputs': 8, 'targets': 8},
      'use_cached': False,
      'length_normalized': False,
      'decoder': {'name': 'greedy'},
      'num_decodes': 1,
      'seed': 0,
      'base_dtype': 'bfloat16',
      'vocabulary': 'PassThroughVocabulary, 100 ids',
      'activation_dtype': 'float32',
      **changes,
    }
  )


def evaluation(tasks, checkpoint=None, **changes):
  """An evaluation that found these tasks."""
  whole = Evaluation(
    complete=True,
    checkpoint=checkpoint or facts(),
    settings=settings(),
    **vars(summarize(tasks)),
    published=None,
    tasks=list(tasks),
    environment={'command': 'python', 'device_kind': 'cpu', 'devices': 1},
  )
  return dataclasses.replace(whole, **changes)


def whole():
  """An evaluation with every kind of content."""
  ranked = task('r1', 30.0, column='anli')
  free = dataclasses.replace(
    task('free', 3.0, metric='bleu', chance=None, kind='generation'),
    rows=None,
    none_correct=None,
    several_correct=None,
    trimmed_targets=None,
  )
  return evaluation(
    [ranked, free],
    facts(MOV, 20),
    published=PublishedTable(
      'a paper',
      (
        Published('MoV-10', 59.93, 'N'),
        Published(
          *('T0-3B', 51.66, 'N', MEAN, ('anli',), ('story_cloze',)),
          *(20_000, 2048, 'a card', (51.66,)),
        ),
      ),
      {'N': 'from notes'},
    ),
  )


def outcome(method=(), trained=0, values=(50.0, 60.0), **changes):
  """An evaluation of two data sets with two prompts each."""
  tasks = [
    task(name, value + shift, cluster=name, task=f'{name}_{prompt}')
    for name, value in zip(('nli', 'who'), values, strict=True)
    for prompt, shift in enumerate((-2, 2))
  ]
  changes.setdefault('checkpoint', facts(method, trained))
  return evaluation(tasks, **changes)


def write(folder, content):
  """Writes an evaluation as it writes itself."""
  folder.mkdir(parents=True, exist_ok=True)
  text = results_file.text(results_file.to_json(content))
  (folder / results.JSON).write_text(text)


def write_two(folder):
  """The folders of an evaluation of the frozen base and of one of MoV."""
  write(folder / 'base', outcome())
  write(folder / 'mov', outcome(MOV, 20, (55.0, 81.0)))
  return [str(folder / name) for name in ('base', 'mov')]
