"""Several evaluations side by side: data sets down, runs across.

Evaluations can be compared if they measured the same tasks: the same mixture,
split and feature lengths. What each run trained stands beside what it reached,
because methods are to be compared at what they cost.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.data.catalog import PublishedTable
from moe_lite.evaluation import results_file, run_names
from moe_lite.evaluation.results import JSON, Averages, Evaluation, Settings
from moe_lite.inference.facts import Facts

# Settings that must agree, or the numbers do not mean the same.
_SAME = (
  'mixture_or_task_name',
  'split',
  'task_feature_lengths',
  'length_normalized',
  'num_examples',
)


@dataclasses.dataclass(frozen=True)
class ComparedRun:
  """A run, which is a column of the table.

  Attributes:
    name: a short name that no other run of the comparison has.
    checkpoint: what was evaluated.
    average: the average over columns; None where no task was ranked.
    seconds: how long its evaluation took.
  """

  name: str
  checkpoint: Facts
  average: Averages | None
  seconds: float


@dataclasses.dataclass(frozen=True)
class ComparedDataset:
  """One metric of a data set, which is a row of the table.

  Attributes:
    dataset: the name of the data set.
    metric: the name of the metric.
    cluster: the kind of task.
    held_out: whether the data set was kept apart for evaluation.
    prompts: the number of prompts.
    chance: the accuracy of guessing, in percent; None where it is unknown.
    medians: the median over prompts of each run.
    quartiles: the first and the third quartile of each run.
    values: the values of all prompts of each run.
  """

  dataset: str
  metric: str
  cluster: str
  held_out: bool
  prompts: int
  chance: float | None
  medians: Sequence[float]
  quartiles: Sequence[tuple[float, float]]
  values: Sequence[Sequence[float]]


@dataclasses.dataclass(frozen=True)
class ComparedColumn:
  """A column of the average.

  Attributes:
    column: the name of the column.
    datasets: the names of its data sets.
    chance: the accuracy of guessing, in percent; None where it is unknown.
    medians: the mean of the data sets' medians, of each run.
  """

  column: str
  datasets: Sequence[str]
  chance: float | None
  medians: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Evaluations of the same tasks.

  Attributes:
    settings: the settings of the first evaluation.
    runs: the runs, in the order of the evaluations.
    datasets: the data sets; what they hold of runs is in the order of `runs`.
    columns: the columns of the average.
    published: what others reported for the mixture; None if nothing is known.
  """

  settings: Settings
  runs: Sequence[ComparedRun]
  datasets: Sequence[ComparedDataset]
  columns: Sequence[ComparedColumn]
  published: PublishedTable | None


def read(folders: Sequence[str]) -> list[Evaluation]:
  """Reads the `results.json` of each EVAL_OUTPUT_DIR.

  Raises:
    UserError: if one of them is missing, is not complete, or holds other tasks
      than the first.
  """
  evaluations = [_read(folder) for folder in folders]
  for folder, evaluation in zip(folders, evaluations, strict=True):
    _check_same(evaluations[0], evaluation, folders[0], folder)
  return evaluations


def are_comparable(one: Evaluation, other: Evaluation) -> bool:
  """Whether two evaluations measured the same tasks in the same way."""
  try:
    _check_same(one, other, '', '')
  except UserError:
    return False
  return True


def compare(evaluations: Sequence[Evaluation]) -> Comparison:
  """Lays evaluations of the same tasks side by side."""
  first = evaluations[0]
  names = run_names.distinct(
    [run_names.name(x.checkpoint) for x in evaluations]
  )
  return Comparison(
    settings=first.settings,
    runs=[
      ComparedRun(name, x.checkpoint, x.average, x.seconds)
      for name, x in zip(names, evaluations, strict=True)
    ],
    datasets=_compare_datasets(evaluations),
    columns=[
      ComparedColumn(
        column=column.column,
        datasets=column.datasets,
        chance=column.chance,
        medians=[x.columns[i].median for x in evaluations],
      )
      for i, column in enumerate(first.columns)
    ],
    published=first.published,
  )


def to_json(comparison: Comparison) -> dict[str, Any]:
  """What the `results.json` of a comparison holds."""
  content = results_file.plain(comparison)
  content['runs'] = [
    {
      'name': run['name'],
      **run['checkpoint'],
      'average': run['average'],
      'seconds': run['seconds'],
    }
    for run in content['runs']
  ]
  return content


def _read(folder: str) -> Evaluation:
  path = epath.Path(folder) / JSON
  if not path.exists():
    raise UserError(
      f'{folder} has no {JSON}. Give the EVAL_OUTPUT_DIR of evaluations.'
    )
  evaluation = results_file.read(path)
  if not evaluation.complete:
    raise UserError(
      f'The evaluation in {folder} is not complete. Run its command again: it '
      'goes on where it stopped.'
    )
  return evaluation


def _check_same(
  first: Evaluation, other: Evaluation, first_folder: str, folder: str
) -> None:
  """Raises UserError unless both evaluations measured the same tasks."""
  for key in _SAME:
    wanted, found = getattr(first.settings, key), getattr(other.settings, key)
    if wanted != found:
      raise UserError(
        f'{folder} was evaluated with {key} = {found!r}, but {first_folder} '
        f'with {wanted!r}: they cannot be compared.'
      )
  # A mixture may have had other tasks in an older version of its suite.
  for what, of_first, of_other in (
    (
      'dataset',
      {x.dataset for x in first.datasets},
      {x.dataset for x in other.datasets},
    ),
    ('task', {x.task for x in first.tasks}, {x.task for x in other.tasks}),
  ):
    if of_first != of_other:
      raise UserError(
        f'One of {first_folder} and {folder} lacks {what} '
        f'{sorted(of_first ^ of_other)[0]}: evaluate both with one version of '
        'the mixture.'
      )


def _compare_datasets(
  evaluations: Sequence[Evaluation],
) -> list[ComparedDataset]:
  by_run = [
    {(dataset.dataset, dataset.metric): dataset for dataset in x.datasets}
    for x in evaluations
  ]
  return [
    ComparedDataset(
      dataset=first.dataset,
      metric=first.metric,
      cluster=first.cluster,
      held_out=first.held_out,
      prompts=first.prompts,
      chance=first.chance,
      medians=[run[key].median for run in by_run],
      quartiles=[(run[key].q1, run[key].q3) for run in by_run],
      values=[_values_of_prompts(x, *key) for x in evaluations],
    )
    for key, first in by_run[0].items()
  ]


def _values_of_prompts(
  evaluation: Evaluation, dataset: str, metric: str
) -> list[float]:
  return [
    task.value
    for task in evaluation.tasks
    if (task.dataset, task.metric) == (dataset, metric)
  ]
