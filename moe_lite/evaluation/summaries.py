"""From prompts to data sets, to columns, and to one number.

The number of a data set is the median over its prompts; for an even number of
prompts it is the mean of the middle two. Data sets that share a column of the
results, such as ANLI's three rounds, are averaged into it. The average is the
mean of the columns.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from moe_lite.evaluation.results import (
  ACCURACY,
  Averages,
  ColumnSummary,
  DatasetSummary,
  TaskResult,
)


@dataclasses.dataclass(frozen=True)
class Summary:
  """What follows from tasks; see the fields of the same names of `Evaluation`.

  Attributes:
    datasets: one entry for each metric of a data set, in order of appearance.
    columns: their means by column, of the data sets that are ranked.
    average: the mean of the columns; None where no task was ranked.
  """

  datasets: Sequence[DatasetSummary]
  columns: Sequence[ColumnSummary]
  average: Averages | None


def summarize(tasks: Iterable[TaskResult]) -> Summary:
  """Summarises prompts by data set, data sets by column, and all columns."""
  groups: dict[tuple[str, str], list[TaskResult]] = defaultdict(list)
  for task in tasks:
    groups[task.dataset, task.metric].append(task)
  datasets = [_summarize_prompts(prompts) for prompts in groups.values()]
  by_column: dict[str, list[DatasetSummary]] = defaultdict(list)
  for dataset in datasets:
    # Other metrics are on other scales.
    if dataset.metric == ACCURACY:
      by_column[dataset.column].append(dataset)
  columns = [
    ColumnSummary(
      column, [dataset.dataset for dataset in members], **vars(_mean(members))
    )
    for column, members in by_column.items()
  ]
  return Summary(datasets, columns, _mean(columns) if columns else None)


def _summarize_prompts(prompts: Sequence[TaskResult]) -> DatasetSummary:
  first = prompts[0]
  values = np.array([prompt.value for prompt in prompts])
  q1, median, q3 = np.percentile(values, (25, 50, 75))
  return DatasetSummary(
    dataset=first.dataset,
    metric=first.metric,
    column=first.column or first.dataset,
    cluster=first.cluster,
    held_out=first.held_out,
    prompts=len(prompts),
    median=float(median),
    mean=float(values.mean()),
    q1=float(q1),
    q3=float(q3),
    min=float(values.min()),
    max=float(values.max()),
    chance=_mean_chance(prompts),
  )


def _mean(members: Sequence[DatasetSummary | ColumnSummary]) -> Averages:
  return Averages(
    median=float(np.mean([member.median for member in members])),
    mean=float(np.mean([member.mean for member in members])),
    chance=_mean_chance(members),
  )


def _mean_chance(
  members: Sequence[TaskResult | DatasetSummary | ColumnSummary],
) -> float | None:
  """The mean of the chances; None where any of them is unknown."""
  known = [member.chance for member in members if member.chance is not None]
  return float(np.mean(known)) if len(known) == len(members) else None
