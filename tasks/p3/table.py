"""The facts of P3's tasks: names, sizes, answer choices, mixtures and rates.

`p3_table.csv` has a row for each of the 592 tasks that T0's definitions
register, and for the 5 that were published beside them (WinoGrande, debiased).
This module reads it, and needs only the standard library.

Sources: the task definitions of T0 (arXiv 2110.08207), executed, and the
configurations of the data set bigscience/P3.
"""

import csv
import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping

from moe_lite.data.catalog import SCORE_EVAL

PATH = pathlib.Path(__file__).with_name('p3_table.csv')
COLUMNS = (
  'task',
  'dataset',
  'template',
  'cluster',
  'original_task',
  'metrics',
  'choices',
  'rate',
  'mixtures',
  'published',
  'rows',
  'published_choices',
  'score_eval_rows',
)
# Stands in the column `choices` of tasks whose examples have their own.
PER_EXAMPLE = '*'

TRAIN_MIXTURES = (
  't0_train',
  't0+_train',
  't0++_train',
  't0_train_one_og_prompt',
  't0_train_all_og_prompts',
)
SCORE_EVAL_MIXTURES = (
  't0_eval_score_eval',
  't0_train_score_eval',
  'bias_fairness_eval_score_eval',
)
MIXTURES = (*TRAIN_MIXTURES, *SCORE_EVAL_MIXTURES)


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A data set under one prompt template, which is a task and perhaps a twin.

  Attributes:
    task: the name of the SeqIO task.
    dataset: the data set and its subset; for ANLI, also the round.
    template: the name of the prompt template in the collection of prompts.
    cluster: the kind of task, such as 'QA_extractive'.
    original_task: whether the prompt asks what the data set was made to ask.
    metrics: the names of the metrics of generated text; see `tasks.metrics`.
    choices: the answer choices if all examples share them, else ().
    has_choices: whether there are answer choices, and so a `_score_eval` twin.
    rate: the rate in training mixtures; None if the task is in none of them.
    mixtures: the mixtures that hold the task. Those whose names end in
      `_score_eval` hold its twin.
    published: whether bigscience/P3 has the task.
    rows: the number of published rows by split; if there are none, that of the
      data set.
    published_choices: whether the published rows list their answer choices.
    score_eval_rows: the number of rows of the published twin by split; empty if
      the twin was not published.
  """

  task: str
  dataset: str
  template: str
  cluster: str
  original_task: bool
  metrics: tuple[str, ...]
  choices: tuple[str, ...]
  has_choices: bool
  rate: int | None
  mixtures: tuple[str, ...]
  published: bool
  rows: Mapping[str, int]
  published_choices: bool
  score_eval_rows: Mapping[str, int]

  @property
  def twin(self) -> str:
    """The name of the task with one row for each answer choice."""
    return self.task + SCORE_EVAL


@functools.cache
def prompts() -> Mapping[str, Prompt]:
  """All prompts by the name of their task."""
  with PATH.open(encoding='utf-8', newline='') as file:
    found = [_prompt(row) for row in csv.DictReader(file)]
  return {prompt.task: prompt for prompt in found}


def lookup(task: str) -> Prompt | None:
  """The prompt of a task or of a twin; None if P3 does not have it."""
  return prompts().get(task.removesuffix(SCORE_EVAL))


def published_rows(task: str) -> Mapping[str, int]:
  """The numbers of rows of a published task or twin, by split.

  They are empty if the task was not published.
  """
  prompt = lookup(task)
  if prompt is None:
    return {}
  if task.endswith(SCORE_EVAL):
    return prompt.score_eval_rows
  return prompt.rows if prompt.published else {}


@functools.cache
def members(mixture: str) -> tuple[str, ...]:
  """The names of the tasks of a mixture; of twins in a mixture of twins."""
  twins = mixture in SCORE_EVAL_MIXTURES
  return tuple(
    prompt.twin if twins else prompt.task
    for prompt in prompts().values()
    if mixture in prompt.mixtures
  )


@functools.cache
def data_sets() -> Mapping[str, tuple[str, ...]]:
  """The tasks of each data set that are in a mixture, by its name."""
  found: dict[str, list[str]] = {}
  for prompt in prompts().values():
    if prompt.mixtures:
      found.setdefault(prompt.dataset, []).append(prompt.task)
  return {name: tuple(tasks) for name, tasks in found.items()}


def configurations(tasks: Iterable[str]) -> tuple[str, ...]:
  """The published configurations that tasks are read from.

  A twin that was not published is made from the rows of its task.
  """
  found = []
  for task in tasks:
    base = task.removesuffix(SCORE_EVAL)
    found += [name for name in (task, base) if published_rows(name)][:1]
  return tuple(dict.fromkeys(found))


def _prompt(row: Mapping[str, str]) -> Prompt:
  shared = row['choices'] not in ('', PER_EXAMPLE)
  return Prompt(
    task=row['task'],
    dataset=row['dataset'],
    template=row['template'],
    cluster=row['cluster'],
    original_task=row['original_task'] == '1',
    metrics=tuple(row['metrics'].split()),
    choices=tuple(json.loads(row['choices'])) if shared else (),
    has_choices=bool(row['choices']),
    rate=int(row['rate']) if row['rate'] else None,
    mixtures=tuple(row['mixtures'].split()),
    published=row['published'] == '1',
    rows=_sizes(row['rows']),
    published_choices=row['published_choices'] == '1',
    score_eval_rows=_sizes(row['score_eval_rows']),
  )


def _sizes(text: str) -> Mapping[str, int]:
  pairs = (item.split(':') for item in text.split())
  return {split: int(rows) for split, rows in pairs}
