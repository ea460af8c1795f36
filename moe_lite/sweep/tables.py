"""A sweep on a page, as a spreadsheet, and as a picture."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.core.files import replace_text
from moe_lite.core.tables import table
from moe_lite.sweep import outcome
from moe_lite.sweep.plots import intervals

JSON = 'sweep.json'
MARKDOWN = 'sweep.md'
CSV = 'sweep.csv'
PLOT = 'sweep.png'
# More columns of data sets than that do not fit a page.
_MOST_COLUMNS = 8

Row = Mapping[str, Any]


def write(name: str, swept: Mapping[str, Any], folder: str) -> str:
  """Writes what `outcome.collect` gave; returns where it is, in words."""
  target = epath.Path(folder)
  target.mkdir(parents=True, exist_ok=True)
  for file, text in (
    (JSON, json.dumps(swept, indent=2) + '\n'),
    (MARKDOWN, markdown(name, swept)),
    (CSV, spreadsheet(swept['rows'])),
  ):
    replace_text(target / file, text)
  intervals(swept['rows'], target / PLOT)
  return f'Results are in {folder}: {MARKDOWN}, {PLOT}, {CSV}, {JSON}.'


def markdown(name: str, swept: Mapping[str, Any]) -> str:
  """The page: accuracy, equal parameters, the search, time and memory."""
  rows = swept['rows']
  lines = [f'# {name}', '']
  if settings := swept['settings']:
    lines += [
      f'{settings["mixture_or_task_name"]}, split {settings["split"]}: '
      'accuracy in percent, the median over prompts of each data set; mean '
      f'over seeds ± half of its {100 * swept["confidence"]:.0f} % confidence '
      "interval (Student's t).",
      '',
    ]
  if not swept['complete']:
    lines += ['Not complete: run the same command again to go on.', '']
  lines += [accuracy(rows), '']
  for row in rows:
    for macro in row['at_edge']:
      lines.append(
        f'- {row["variant"]}: {macro} = {row["choice"][macro]} is at the edge '
        'of the search; a better value may lie beyond it.'
      )
  for run, why in swept['failed'].items():
    lines.append(f'- FAILED {run}: {why}')
  lines += _equal(rows)
  lines += _search(swept['search'])
  lines += _costs(rows, swept['runs'])
  return '\n'.join(lines).rstrip() + '\n'


def accuracy(rows: Sequence[Row]) -> str:
  """One row a variant; the same in every call that has the same runs."""
  columns = _columns(rows)
  if len(columns) > _MOST_COLUMNS:
    columns = []
  searched = any(row['choice'] for row in rows)
  header = ['variant', *(['search'] if searched else [])]
  header += ['trained', '% of base', 'seeds', 'average', *columns]
  cells = []
  for row in rows:
    choice = row['choice'] or {}
    cells.append(
      [
        row['variant'],
        *([', '.join(map(str, choice.values()))] if searched else []),
        f'{row["trainable_parameters"]:,}',
        f'{row["share"]:.3g}',
        _seeds(row),
        _mean(row['average']),
        *(_mean(row['columns'].get(column)) for column in columns),
      ]
    )
  return table(header, cells)


def overview(counts: Mapping[str, tuple[int, int]]) -> str:
  """What the variants train, before anything ran."""
  return table(
    ('variant', 'trained', '% of base'),
    [
      (name, f'{trained:,}', f'{100 * trained / base:.3g}')
      for name, (trained, base) in counts.items()
    ],
  )


def spreadsheet(rows: Sequence[Row]) -> str:
  """All numbers of the rows, one a line."""
  columns = _columns(rows)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  header = ['variant', 'choice', 'trainable_parameters', 'base_parameters']
  header += ['percent_of_base', 'seeds', 'average', 'half_interval']
  for column in columns:
    header += [column, f'{column}_half_interval']
  times = ('training_seconds', 'seconds_per_step', 'evaluation_seconds')
  writer.writerow([*header, *times, 'step_bytes'])
  for row in rows:
    choice = row['choice'] or {}
    cells = [
      row['variant'],
      ' '.join(f'{name}={value}' for name, value in choice.items()),
      row['trainable_parameters'],
      row['base_parameters'],
      row['share'],
      len(row['seeds']),
    ]
    for one in (row['average'], *(row['columns'].get(c) for c in columns)):
      cells += [one['mean'], one['half']] if one else [None, None]
    cells += [row.get(key) for key in (*times, 'step_bytes')]
    writer.writerow(cells)
  return text.getvalue()


def _equal(rows: Sequence[Row]) -> list[str]:
  groups = outcome.equal_parameters(rows)
  trained = sum(1 for row in rows if row['is_trained'])
  # Where all train as many, the first table says it.
  if not groups or len(groups[0]) == trained:
    return []
  cells = []
  for i, group in enumerate(groups):
    best = group[0]['average']['values']
    for row in group:
      values = row['average']['values']
      mean, half = outcome.difference(values, best)
      behind = '' if row is group[0] else _mean({'mean': mean, 'half': half})
      cells.append(
        (
          row['variant'],
          str(i + 1),
          f'{row["trainable_parameters"]:,}',
          _mean(row['average']),
          behind,
        )
      )
  header = ('variant', 'group', 'trained', 'average', 'behind the first')
  return [
    '',
    '## At equal parameters',
    '',
    'Variants whose trained parameters differ by at most '
    f"{100 * outcome.EQUAL_PARAMETERS - 100:.0f} %; differences with Welch's "
    'interval, not corrected for their number.',
    '',
    table(header, cells),
  ]


def _search(search: Sequence[Mapping[str, Any]]) -> list[str]:
  if not search:
    return []
  cells = [
    (
      one['variant'],
      one['choice'],
      '–' if one['average'] is None else f'{one["average"]:.2f}',
      'chosen' if one.get('chosen') else '',
    )
    for one in search
  ]
  return [
    '',
    '## Search',
    '',
    'Averages on the validation of the search, one seed; they are not those '
    'of the table.',
    '',
    table(('variant', 'values', 'average', ''), cells),
  ]


def _costs(rows: Sequence[Row], runs: Sequence[Mapping[str, Any]]) -> list[str]:
  """Measured, and therefore another time in every sweep."""
  number = lambda x, form: '–' if x is None else format(x, form)
  cells = [
    (
      row['variant'],
      number(row.get('seconds_per_step'), '.3g'),
      number(row.get('training_seconds'), ',.0f'),
      number(row.get('evaluation_seconds'), ',.0f'),
      number(row['step_bytes'] and row['step_bytes'] / 2**20, ',.1f'),
    )
    for row in rows
    if row['average']
  ]
  if not cells:
    return []
  kinds = ', '.join(sorted({run['device_kind'] for run in runs}))
  header = ('variant', 's a step', 'training s', 'evaluation s', 'step MiB')
  return [
    '',
    '## Time and memory',
    '',
    f'Of a run, on {kinds}, without starting and compiling; the mean over '
    'seeds. Memory is what the compiler gives a training step on one device: '
    'parameters, optimizer, activations.',
    '',
    table(header, cells),
  ]


def _columns(rows: Sequence[Row]) -> list[str]:
  return list(dict.fromkeys(c for row in rows for c in row['columns']))


def _seeds(row: Row) -> str:
  count, wanted = len(row['seeds']), row['wanted']
  if not row['is_trained']:
    return '' if count else '0 of 1'
  return str(count) if count == wanted else f'{count} of {wanted}'


def _mean(one: Mapping[str, Any] | None) -> str:
  if one is None:
    return '–'
  half = '' if one['half'] is None else f' ± {one["half"]:.2f}'
  return f'{one["mean"]:.2f}{half}'
