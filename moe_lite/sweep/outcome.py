"""Numbers of a sweep: choices of the search, means over seeds, intervals."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.evaluation import comparison
from moe_lite.sweep import running
from moe_lite.sweep.expansion import Plan, Run, Setting, result_file
from moe_lite.training import run_folder

CONFIDENCE = 0.95
# Variants whose trained parameters differ by no more than this factor.
EQUAL_PARAMETERS = 1.15


def choose(settings: Sequence[Setting]) -> tuple[Setting | None, list[dict]]:
  """Which setting of a variant goes on, by the search's validation.

  Args:
    settings: of one variant, one a choice.

  Returns:
    The setting with the highest average, the first of equals; None while some
    have none. And for each `choice`, its `values` and `average` (None if it
    has none yet).
  """
  if len(settings) == 1:
    return settings[0], []
  tried = []
  for setting in settings:
    validation = setting.runs[0].validation
    average = None
    if running.is_complete(validation):
      outcome = json.loads(result_file(validation).read_text())
      average = _average(outcome, validation.output)
    tried.append(
      {
        'variant': setting.variant.name,
        'choice': setting.choice.name,
        'values': setting.choice.values,
        'average': average,
      }
    )
  averages = [one['average'] for one in tried]
  if None in averages:
    return None, tried
  best = int(np.argmax(averages))
  for i, one in enumerate(tried):
    one['chosen'] = i == best
  return settings[best], tried


def interval(values: Sequence[float]) -> tuple[float, float | None]:
  """Mean, and half of its confidence interval by Student's t.

  The half is None for a single value.
  """
  mean = float(np.mean(values))
  count = len(values)
  if count < 2:
    return mean, None
  error = np.std(values, ddof=1) / np.sqrt(count)
  quantile = scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)
  return mean, float(error * quantile)


def collect(
  plan: Plan,
  counts: Mapping[str, tuple[int, int]],
  failed: Mapping[str, str],
) -> dict[str, Any]:
  """Everything that is known of a sweep.

  Args:
    plan: of the sweep.
    counts: a variant's trained and base parameters.
    failed: names of runs that failed, to why.

  Returns:
    `complete`; `rows`, one a variant in the grid's order; `runs`, one a
    finished run of the rows; `search`, one a choice tried; `failed`; and
    `settings` of the evaluations. All but times is the same in every call.

  Raises:
    UserError: if evaluations cannot be compared.
  """
  rows, runs, search = [], [], []
  settings_of_evaluation = None
  outcomes: dict[str, list[tuple[Run, dict]]] = {}
  wanted = 0
  for name, settings in plan.settings.items():
    chosen, tried = choose(settings)
    search += tried
    outcomes[name] = []
    wanted += len(settings[0].runs)
    for run in chosen.runs if chosen else ():
      if running.is_complete(run.evaluation):
        outcomes[name].append((run, {}))
  found = [pair for pairs in outcomes.values() for pair in pairs]
  folders = [run.evaluation.output for run, _ in found]
  if folders:
    read = comparison.read(folders)
    settings_of_evaluation = read[0]['settings']
    for (_, outcome), content in zip(found, read, strict=True):
      outcome.update(content)
  for name, settings in plan.settings.items():
    of_variant = [_run(run, outcome) for run, outcome in outcomes[name]]
    runs += of_variant
    rows.append(_row(name, settings, counts[name], of_variant))
  return {
    'complete': len(runs) == wanted,
    'confidence': CONFIDENCE,
    'settings': settings_of_evaluation,
    'rows': rows,
    'search': search,
    'failed': dict(failed),
    'runs': runs,
  }


def _run(run: Run, outcome: Mapping[str, Any]) -> dict[str, Any]:
  """One evaluated run."""
  facts = _facts(run) if run.train is not None else {}
  return {
    'run': run.name,
    'variant': run.variant,
    'choice': run.choice.values,
    'seed': run.seed,
    'folder': run.folder,
    'average': _average(outcome, run.evaluation.output),
    'columns': {c['column']: c['median'] for c in outcome['columns']},
    'chance': outcome['average']['chance'],
    'trainable_fingerprint': outcome['checkpoint']['trainable_fingerprint'],
    **facts,
    'evaluation_seconds': sum(task['seconds'] for task in outcome['tasks']),
    'device_kind': outcome['device_kind'],
  }


def _row(
  name: str,
  settings: Sequence[Setting],
  counts: tuple[int, int],
  runs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
  """A variant over its seeds."""
  trained, base = counts
  row: dict[str, Any] = {
    'variant': name,
    'is_trained': settings[0].variant.is_trained,
    'trainable_parameters': trained,
    'base_parameters': base,
    'share': 100 * trained / base,
    'wanted': len(settings[0].runs),
    'seeds': [run['seed'] for run in runs],
    'choice': None,
    'at_edge': [],
    'average': None,
    'columns': {},
  }
  if not runs:
    return row
  values = [run['average'] for run in runs]
  mean, half = interval(values)
  row |= {
    'choice': runs[0]['choice'],
    'at_edge': _at_edge(settings, runs[0]['choice']),
    'average': {'values': values, 'mean': mean, 'half': half},
    'chance': runs[0]['chance'],
  }
  for column in runs[0]['columns']:
    values = [run['columns'][column] for run in runs]
    mean, half = interval(values)
    row['columns'][column] = {'values': values, 'mean': mean, 'half': half}
  for key in ('training_seconds', 'seconds_per_step', 'evaluation_seconds'):
    known = [run[key] for run in runs if run.get(key) is not None]
    row[key] = float(np.mean(known)) if known else None
  row['step_bytes'] = runs[0].get('step_bytes')
  return row


def equal_parameters(
  rows: Sequence[Mapping[str, Any]],
) -> list[list[Mapping[str, Any]]]:
  """Trained rows in groups of about as many trained parameters.

  The largest of a group has at most `EQUAL_PARAMETERS` times the parameters of
  the smallest. Groups of one are left out; the best of a group stands first.
  """
  known = [row for row in rows if row['is_trained'] and row['average']]
  known.sort(key=lambda row: row['trainable_parameters'])
  groups: list[list[Mapping[str, Any]]] = []
  for row in known:
    least = groups[-1][0]['trainable_parameters'] if groups else 0
    if row['trainable_parameters'] <= EQUAL_PARAMETERS * least:
      groups[-1].append(row)
    else:
      groups.append([row])
  return [
    sorted(group, key=lambda row: -row['average']['mean'])
    for group in groups
    if len(group) > 1
  ]


def difference(
  first: Sequence[float], second: Sequence[float]
) -> tuple[float, float | None]:
  """Difference of means, and half of its interval by Welch's t.

  The half is None where either has a single value.
  """
  mean = float(np.mean(first) - np.mean(second))
  if min(len(first), len(second)) < 2:
    return mean, None
  if np.ptp(first) == 0 and np.ptp(second) == 0:
    return mean, 0.0
  test: Any = scipy.stats.ttest_ind(first, second, equal_var=False)
  low, high = test.confidence_interval(CONFIDENCE)
  return mean, float(high - low) / 2


def _at_edge(
  settings: Sequence[Setting], chosen: Mapping[str, Any]
) -> list[str]:
  """Searched macros whose chosen value is the least or greatest tried."""
  found = []
  for name, value in chosen.items():
    tried = [setting.choice.values[name] for setting in settings]
    if not all(isinstance(x, int | float) for x in tried):
      continue
    if min(tried) < max(tried) and value in (min(tried), max(tried)):
      found.append(name)
  return found


def _facts(run: Run) -> dict[str, Any]:
  """What training wrote down of its time and memory."""
  facts: dict[str, Any] = {}
  folder = epath.Path(run.folder)
  metrics, described = folder / run_folder.METRICS, folder / run_folder.RUN
  if metrics.exists():
    lines = map(json.loads, metrics.read_text().splitlines())
    done, seconds = 0, 0.0
    # Each step once, however often the run was interrupted.
    for line in lines:
      seconds += (line['step'] - done) * line['seconds_per_step']
      done = line['step']
    if done:
      facts['training_seconds'] = seconds
      facts['seconds_per_step'] = seconds / done
  if described.exists():
    facts['step_bytes'] = json.loads(described.read_text()).get('step_bytes')
  return facts


def _average(outcome: Mapping[str, Any], folder: str) -> float:
  if outcome['average'] is None:
    raise UserError(
      f'{folder} has no task that is ranked by accuracy, which sweeps compare. '
      "Give EVAL_DATA a mixture of '..._score_eval' tasks."
    )
  return outcome['average']['median']
