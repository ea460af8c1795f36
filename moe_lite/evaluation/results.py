"""From prompts to data sets to one number, and how results are written down.

The final number of a data set is the median over its prompts (the mean of the
middle two where their number is even). Data sets that share a column of the
results, as ANLI's three rounds do, are averaged into it; the average is the
mean of the columns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from moe_lite.core.tables import table

JSON = 'results.json'
MARKDOWN = 'results.md'
PLOT = 'prompts.png'
# The metric of rank classification, in percent.
ACCURACY = 'accuracy'

# One task's outcome, as in results.json.
Record = Mapping[str, Any]


def summarize(tasks: Iterable[Record]) -> dict[str, Any]:
  """Summarises prompts.

  Args:
    tasks: each with `dataset`, `column`, `cluster`, `held_out`, `metric`,
      `value` and `chance` (None where nothing is chosen).

  Returns:
    `datasets`, a list in order of appearance: each one's `median`, `mean`,
    `q1`, `q3`, `min`, `max` over its `prompts`, and `chance`; `columns`, the
    same averaged by column, and `average`, their means, both of what is ranked
    by accuracy.
  """
  groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
  for task in tasks:
    groups[task['dataset'], task['metric']].append(task)
  datasets = [
    _summarize_prompts(prompts, name, metric)
    for (name, metric), prompts in groups.items()
  ]
  by_column: dict[str, list[Record]] = defaultdict(list)
  for dataset in datasets:
    if dataset['metric'] == ACCURACY:
      by_column[dataset['column']].append(dataset)
  columns = [
    {
      'column': column,
      'datasets': [dataset['dataset'] for dataset in members],
      **_means(members),
    }
    for column, members in by_column.items()
  ]
  return {
    'datasets': datasets,
    'columns': columns,
    'average': _means(columns) if columns else None,
  }


def markdown(results: Mapping[str, Any]) -> str:
  """`results.json` as a page to read."""
  checkpoint = results['checkpoint']
  settings = results['settings']
  lines = [
    f'# {settings["mixture_or_task_name"]}, split {settings["split"]}',
    '',
    f'Checkpoint: {checkpoint["checkpoint"]}'
    + ('' if checkpoint['step'] is None else f', step {checkpoint["step"]}')
    + f'. Base: {checkpoint["base"]["source"]} (fingerprint '
    f'{checkpoint["base"]["fingerprint"]}). {trained(checkpoint)}.',
  ]
  if not results['complete']:
    lines += ['', 'Not complete: run the same command again to go on.']
  if average := results['average']:
    lines += [
      '',
      f'**Average over data sets of the median over prompts: '
      f'{average["median"]:.2f}** (mean over prompts {average["mean"]:.2f}, '
      f'chance {_number(average["chance"])}).',
    ]
  header = ('data set', 'metric', 'prompts', 'median', 'mean', 'quartiles')
  rows = [
    (
      dataset['dataset'],
      dataset['metric'],
      str(dataset['prompts']),
      f'{dataset["median"]:.2f}',
      f'{dataset["mean"]:.2f}',
      f'{dataset["q1"]:.2f} to {dataset["q3"]:.2f}',
      _number(dataset['chance']),
    )
    for dataset in results['datasets']
  ]
  lines += ['', table((*header, 'chance'), rows)]
  lines += _columns(results)
  lines += published(results.get('published'))
  rows = [
    (
      task['task'],
      task['metric'],
      f'{task["value"]:.2f}',
      _number(task['metrics'].get('f1')),
      _number(task['chance']),
      str(task['examples']),
    )
    for task in results['tasks']
  ]
  header = ('prompt', 'metric', 'value', 'F1', 'chance', 'examples')
  lines += ['', table(header, rows)]
  lines += [f'\n- {note}' for note in notes(results['tasks'])]
  return '\n'.join(lines) + '\n'


def _columns(results: Mapping[str, Any]) -> list[str]:
  """The columns of the average, where they are not the data sets."""
  columns = results['columns']
  if all(len(column['datasets']) == 1 for column in columns):
    return []
  average = {'column': 'average', 'datasets': (), **results['average']}
  rows = [
    (
      row['column'],
      str(len(row['datasets']) or ''),
      f'{row["median"]:.2f}',
      f'{row["mean"]:.2f}',
      _number(row['chance']),
    )
    for row in (*columns, average)
  ]
  header = ('column', 'data sets', 'median', 'mean', 'chance')
  return ['', table(header, rows)]


def published(known: Mapping[str, Any] | None) -> list[str]:
  """What others reported, as lines of a page.

  Args:
    known: `source`, `averages` (each with `name`, `average` and `mark`) and
      `marks`, what these say of a figure's provenance; None for nothing.
  """
  if known is None:
    return []
  rows = [
    (one['name'], f'{one["average"]:.2f}', one['mark'])
    for one in known['averages']
  ]
  marks = '; '.join(f'{mark}: {says}' for mark, says in known['marks'].items())
  return [
    '',
    f'Published averages of {known["source"]} ({marks}):',
    '',
    table(('published', 'average', 'mark'), rows),
  ]


def by_prompt(tasks: Iterable[Record]) -> dict[tuple[str, str], list[float]]:
  """The prompts' values of each (data set, metric)."""
  values: dict[tuple[str, str], list[float]] = defaultdict(list)
  for task in tasks:
    values[task['dataset'], task['metric']].append(task['value'])
  return dict(values)


def notes(tasks: Iterable[Record]) -> list[str]:
  """What a reader of the numbers should know of the rows behind them."""
  found = []
  for task in tasks:
    for key, text in (
      ('none_correct', 'have no correct choice, and count as wrong'),
      (
        'several_correct',
        'have several correct choices, any of which counts as right',
      ),
    ):
      if count := task.get(key):
        found.append(
          f'{task["task"]}: {count} of {task["examples"]} examples {text}.'
        )
    if count := task.get('trimmed_targets'):
      found.append(
        f'{task["task"]}: {count} of {task["rows"]} choices are longer than '
        'the targets may be, and were scored without their end.'
      )
  return found


def trained(checkpoint: Mapping[str, Any]) -> str:
  """'16,384 parameters trained, 1.23 % of the base', or that none were."""
  count, base = (
    checkpoint['trainable_parameters'],
    checkpoint['base_parameters'],
  )
  if not count:
    return 'Nothing trained'
  return f'{count:,} parameters trained, {100 * count / base:.3g} % of the base'


def _summarize_prompts(
  prompts: Sequence[Record], name: str, metric: str
) -> dict[str, Any]:
  values = np.array([prompt['value'] for prompt in prompts])
  q1, median, q3 = np.percentile(values, (25, 50, 75))
  return {
    'dataset': name,
    'metric': metric,
    'column': prompts[0]['column'] or name,
    'cluster': prompts[0]['cluster'],
    'held_out': prompts[0]['held_out'],
    'prompts': len(prompts),
    'median': float(median),
    'mean': float(values.mean()),
    'q1': float(q1),
    'q3': float(q3),
    'min': float(values.min()),
    'max': float(values.max()),
    'chance': _mean([prompt['chance'] for prompt in prompts]),
  }


def _means(members: Sequence[Record]) -> dict[str, Any]:
  return {
    key: _mean([member[key] for member in members])
    for key in ('median', 'mean', 'chance')
  }


def _mean(values: Sequence[float | None]) -> float | None:
  """None where any value is unknown."""
  known = [value for value in values if value is not None]
  return float(np.mean(known)) if len(known) == len(values) else None


def _number(value: float | None) -> str:
  return '–' if value is None else f'{value:.2f}'
