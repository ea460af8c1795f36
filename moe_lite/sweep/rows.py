"""What is known of a sweep, as `sweep.json` holds it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.evaluation import results_file
from moe_lite.evaluation.results import Settings
from moe_lite.sweep.intervals import Estimate

# What a row lacks while none of its runs is evaluated.
_MEASURED = (
  *('chance', 'training_seconds', 'seconds_per_step', 'evaluation_seconds'),
  'step_bytes',
)
# Variants are about equal if their numbers of trained parameters differ by no
# more than this factor.
EQUAL_PARAMETERS = 1.15


@dataclasses.dataclass(frozen=True)
class Tried:
  """A choice of the search.

  Attributes:
    variant: the name of the variant.
    choice: the name of the choice.
    values: the value of each searched macro.
    average: the average under the search's validation; None if there is none
      yet.
    chosen: whether the variant goes on with it; None until that is known.
  """

  variant: str
  choice: str
  values: Mapping[str, Any]
  average: float | None
  chosen: bool | None = None


@dataclasses.dataclass(frozen=True)
class Training:
  """What training wrote down of its time and memory.

  Attributes:
    training_seconds: the time of all steps; None if none was measured.
    seconds_per_step: the mean time of a step; None if none was measured.
    step_bytes: the memory of a step on one device; None if it is unknown.
  """

  training_seconds: float | None = None
  seconds_per_step: float | None = None
  step_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
  """A run that is evaluated.

  Attributes:
    run: its name.
    variant: the name of its variant.
    choice: the values of the searched macros.
    seed: the seed of its training.
    folder: the folder of the run.
    average: the average over columns.
    columns: the median of each column of the results.
    chance: the average of guessing; None where it is unknown.
    trainable_fingerprint: what tells the trained parameters from others.
    training: what training wrote down; None for the frozen base.
    evaluation_seconds: how long its evaluation took.
    device_kind: the kind of device of the evaluation.
  """

  run: str
  variant: str
  choice: Mapping[str, Any]
  seed: int
  folder: str
  average: float
  columns: Mapping[str, float]
  chance: float | None
  trainable_fingerprint: str | None
  training: Training | None
  evaluation_seconds: float
  device_kind: str


@dataclasses.dataclass(frozen=True)
class Row:
  """A variant over its seeds.

  The fields from `chance` on are None while `average` is.

  Attributes:
    variant: its name.
    is_trained: False for the frozen base.
    trainable_parameters: the number of parameters that it trains.
    base_parameters: the number of parameters of the base.
    share: the first of these in percent of the second.
    wanted: the number of its runs when all are done.
    seeds: the seeds whose runs are evaluated.
    choice: the values of the searched macros; None while no run is evaluated.
    at_edge: the searched macros whose value is the least or the greatest tried.
    average: the average over columns; None while no run is evaluated.
    columns: each column of the results.
    chance: the average of guessing.
    training_seconds: the mean over runs; None if none is known.
    seconds_per_step: the mean over runs; None if none is known.
    evaluation_seconds: the mean over runs.
    step_bytes: the memory of a training step on one device; None if unknown.
  """

  variant: str
  is_trained: bool
  trainable_parameters: int
  base_parameters: int
  share: float
  wanted: int
  seeds: Sequence[int]
  choice: Mapping[str, Any] | None = None
  at_edge: Sequence[str] = ()
  average: Estimate | None = None
  columns: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
  chance: float | None = None
  training_seconds: float | None = None
  seconds_per_step: float | None = None
  evaluation_seconds: float | None = None
  step_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Swept:
  """Everything that is known of a sweep.

  Attributes:
    complete: whether every run of the table is evaluated.
    confidence: the confidence of the intervals.
    settings: the settings of the evaluations; None while there are none.
    rows: one row for each variant, in the order of the grid.
    search: one entry for each choice that was tried.
    failed: why runs failed, by their names.
    runs: the evaluated runs of the rows.
  """

  complete: bool
  confidence: float
  settings: Settings | None
  rows: Sequence[Row]
  search: Sequence[Tried]
  failed: Mapping[str, str]
  runs: Sequence[EvaluatedRun]


def to_json(swept: Swept) -> dict[str, Any]:
  """What `sweep.json` holds."""
  content = results_file.plain(swept)
  for row in content['rows']:
    if row['average'] is None:
      for name in _MEASURED:
        del row[name]
  for one in content['search']:
    if one['chosen'] is None:
      del one['chosen']
  return {**content, 'runs': [_flat(run) for run in content['runs']]}


def columns_of(rows: Sequence[Row]) -> list[str]:
  """The columns of the results, in the order of the first row that has them."""
  return list(dict.fromkeys(column for row in rows for column in row.columns))


def equal_parameters(rows: Sequence[Row]) -> list[list[Row]]:
  """Groups trained rows that have about as many trained parameters.

  The largest of a group has at most `EQUAL_PARAMETERS` times the parameters of
  the smallest. Groups of one are left out. The best of a group stands first.
  """
  known = [row for row in rows if row.is_trained and row.average]
  known.sort(key=lambda row: row.trainable_parameters)
  groups: list[list[Row]] = []
  for row in known:
    least = groups[-1][0].trainable_parameters if groups else 0
    if row.trainable_parameters <= EQUAL_PARAMETERS * least:
      groups[-1].append(row)
    else:
      groups.append([row])
  best_first = lambda row: -row.average.mean
  return [sorted(group, key=best_first) for group in groups if len(group) > 1]


def _flat(run: Mapping[str, Any]) -> dict[str, Any]:
  """A run with what its training wrote down among its own values."""
  flat = {}
  for name, value in run.items():
    if name != 'training':
      flat[name] = value
    elif value is not None:
      flat |= {
        key: measured
        for key, measured in value.items()
        # Times that were not measured are left out.
        if measured is not None or key == 'step_bytes'
      }
  return flat
