"""What a sweep gave: the choices of the search, and a row for each variant."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.core import json_files, json_lines
from moe_lite.core.errors import UserError
from moe_lite.evaluation import comparison
from moe_lite.evaluation.results import Averages, Evaluation
from moe_lite.sweep.expansion import Plan, Run, Setting
from moe_lite.sweep.intervals import CONFIDENCE, estimate
from moe_lite.sweep.jobs import finished_evaluation
from moe_lite.sweep.rows import EvaluatedRun, Row, Swept, Training, Tried
from moe_lite.training import run_folder


def choose(settings: Sequence[Setting]) -> tuple[Setting | None, list[Tried]]:
  """Chooses the setting that a variant goes on with, by the search.

  Args:
    settings: the settings of one variant, one for each choice.

  Returns:
    The setting with the highest average, the first of equals; None while some
    have none. And what is known of each choice; nothing if there is only one.

  Raises:
    UserError: if an evaluation of the search ranked no task.
  """
  if len(settings) == 1:
    return settings[0], []
  averages = [_validated(setting.runs[0]) for setting in settings]
  known = [average for average in averages if average is not None]
  best = int(np.argmax(known)) if len(known) == len(averages) else None
  tried = [
    Tried(
      variant=setting.variant.name,
      choice=setting.choice.name,
      values=setting.choice.values,
      average=average,
      chosen=None if best is None else i == best,
    )
    for i, (setting, average) in enumerate(zip(settings, averages, strict=True))
  ]
  return None if best is None else settings[best], tried


def collect(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> Swept:
  """Gathers everything that is known of a sweep.

  All but times is the same in every call that finds the same runs.

  Args:
    plan: the plan of the sweep.
    counts: the numbers of trained and of base parameters of each variant.
    failed: why runs failed, by their names.

  Raises:
    UserError: if evaluations cannot be compared, or ranked no task.
  """
  search: list[Tried] = []
  finished: dict[str, list[Run]] = {}
  for name, settings in plan.settings.items():
    chosen, tried = choose(settings)
    search += tried
    runs = chosen.runs if chosen else ()
    finished[name] = [x for x in runs if finished_evaluation(x.evaluation)]
  folders = [x.evaluation.output for runs in finished.values() for x in runs]
  evaluations = dict(zip(folders, comparison.read(folders), strict=True))
  of_variant = {
    name: [_evaluated(run, evaluations[run.evaluation.output]) for run in runs]
    for name, runs in finished.items()
  }
  wanted = sum(len(settings[0].runs) for settings in plan.settings.values())
  return Swept(
    complete=len(evaluations) == wanted,
    confidence=CONFIDENCE,
    settings=evaluations[folders[0]].settings if folders else None,
    rows=[
      _row(name, settings, counts[name], of_variant[name])
      for name, settings in plan.settings.items()
    ],
    search=search,
    failed=dict(failed),
    runs=[run for runs in of_variant.values() for run in runs],
  )


def _validated(run: Run) -> float | None:
  """The average of a run under the search; None if it is not measured yet."""
  evaluation = finished_evaluation(run.validation)
  if evaluation is None:
    return None
  return _average(evaluation, run.validation.output).median


def _evaluated(run: Run, evaluation: Evaluation) -> EvaluatedRun:
  average = _average(evaluation, run.evaluation.output)
  return EvaluatedRun(
    run=run.name,
    variant=run.variant,
    choice=run.choice.values,
    seed=run.seed,
    folder=run.folder,
    average=average.median,
    columns={column.column: column.median for column in evaluation.columns},
    chance=average.chance,
    trainable_fingerprint=evaluation.checkpoint.trainable_fingerprint,
    training=None if run.train is None else _training(run),
    evaluation_seconds=evaluation.seconds,
    device_kind=evaluation.device_kind,
  )


def _row(
  name: str,
  settings: Sequence[Setting],
  counts: tuple[int, int],
  runs: Sequence[EvaluatedRun],
) -> Row:
  """A variant over its seeds."""
  trained, base = counts
  measured: dict[str, Any] = {}
  if runs:
    first = runs[0]
    training = [run.training or Training() for run in runs]
    measured = {
      'choice': first.choice,
      'at_edge': _at_edge(settings, first.choice),
      'average': estimate([run.average for run in runs]),
      'columns': {
        column: estimate([run.columns[column] for run in runs])
        for column in first.columns
      },
      'chance': first.chance,
      'training_seconds': _mean([x.training_seconds for x in training]),
      'seconds_per_step': _mean([x.seconds_per_step for x in training]),
      'evaluation_seconds': _mean([run.evaluation_seconds for run in runs]),
      'step_bytes': training[0].step_bytes,
    }
  return Row(
    variant=name,
    is_trained=settings[0].variant.is_trained,
    trainable_parameters=trained,
    base_parameters=base,
    share=100 * trained / base,
    wanted=len(settings[0].runs),
    seeds=[run.seed for run in runs],
    **measured,
  )


def _at_edge(
  settings: Sequence[Setting], chosen: Mapping[str, Any]
) -> list[str]:
  """The searched macros whose chosen value is the least or greatest tried."""
  found = []
  for name, value in chosen.items():
    tried = [setting.choice.values[name] for setting in settings]
    if not all(isinstance(x, int | float) for x in tried):
      continue
    if min(tried) < max(tried) and value in (min(tried), max(tried)):
      found.append(name)
  return found


def _training(run: Run) -> Training:
  """Reads what training wrote down of its time and memory."""
  folder = epath.Path(run.folder)
  metrics, described = folder / run_folder.METRICS, folder / run_folder.RUN
  seconds, done = 0.0, 0
  if metrics.exists():
    # Each step counts once, however often the run was interrupted.
    for line in json_lines.read(metrics):
      step, each = line.get('step'), line.get('seconds_per_step')
      if not isinstance(step, int) or not isinstance(each, int | float):
        raise UserError(f'{metrics} is damaged: a line is {str(line):.60}.')
      seconds += (step - done) * each
      done = step
  step_bytes = None
  if described.exists():
    step_bytes = json_files.read(described).get('step_bytes')
  return Training(
    training_seconds=seconds if done else None,
    seconds_per_step=seconds / done if done else None,
    step_bytes=step_bytes,
  )


def _average(evaluation: Evaluation, folder: str) -> Averages:
  if evaluation.average is None:
    raise UserError(
      f'{folder} has no task that is ranked by accuracy, which sweeps compare. '
      "Give EVAL_DATA a mixture of '..._score_eval' tasks."
    )
  return evaluation.average


def _mean(values: Sequence[float | None]) -> float | None:
  """The mean of the values that are known; None if none is."""
  known = [value for value in values if value is not None]
  return float(np.mean(known)) if known else None
