"""A sweep as tables, and as a page to read."""

from collections.abc import Mapping, Sequence

from moe_lite.core.tables import table
from moe_lite.sweep.intervals import Estimate, difference
from moe_lite.sweep.rows import (
  EQUAL_PARAMETERS,
  EvaluatedRun,
  Row,
  Swept,
  Tried,
  columns_of,
  equal_parameters,
)

# If there are more columns of data sets, they do not fit a page.
_MOST_COLUMNS = 8


def markdown(name: str, swept: Swept) -> str:
  """The page: accuracy, equal parameters, the search, time and memory."""
  lines = [f'# {name}', '']
  if settings := swept.settings:
    lines += [
      f'{settings.mixture_or_task_name}, split {settings.split}: '
      'accuracy in percent, the median over prompts of each data set; mean '
      f'over seeds ± half of its {100 * swept.confidence:.0f} % confidence '
      "interval (Student's t).",
      '',
    ]
  if not swept.complete:
    lines += ['Not complete: run the same command again to go on.', '']
  lines += [accuracy(swept.rows, swept.search), '']
  for row in swept.rows:
    for macro in row.at_edge:
      value = (row.choice or {})[macro]
      lines.append(
        f'- {row.variant}: {macro} = {value} is at the edge of the search; a '
        'better value may lie beyond it.'
      )
  for run, why in swept.failed.items():
    lines.append(f'- FAILED {run}: {why}')
  lines += _equal(swept.rows)
  lines += _search(swept.search)
  lines += _costs(swept.rows, swept.runs)
  return '\n'.join(lines).rstrip() + '\n'


def accuracy(rows: Sequence[Row], search: Sequence[Tried]) -> str:
  """The accuracy of each variant; the same whenever the runs are the same.

  Args:
    rows: the variants.
    search: what was searched. Only these variants show what was chosen.
  """
  columns = columns_of(rows)
  if len(columns) > _MOST_COLUMNS:
    columns = []
  searched = {one.variant for one in search}
  header = ['variant', *(['search'] if searched else [])]
  header += ['trained', '% of base', 'seeds', 'average', *columns]
  cells = []
  for row in rows:
    is_searched = row.variant in searched
    values = (row.choice or {}).values() if is_searched else ()
    cells.append(
      [
        row.variant,
        *([', '.join(map(str, values))] if searched else []),
        f'{row.trainable_parameters:,}',
        f'{row.share:.3g}',
        _seeds(row),
        _estimate(row.average),
        *(_estimate(row.columns.get(column)) for column in columns),
      ]
    )
  return table(header, cells)


def overview(counts: Mapping[str, tuple[int, int]]) -> str:
  """What the variants train, before anything ran.

  Args:
    counts: the numbers of trained and of base parameters of each variant.
  """
  return table(
    ('variant', 'trained', '% of base'),
    [
      (name, f'{trained:,}', f'{100 * trained / base:.3g}')
      for name, (trained, base) in counts.items()
    ],
  )


def _equal(rows: Sequence[Row]) -> list[str]:
  groups = equal_parameters(rows)
  trained = sum(1 for row in rows if row.is_trained)
  # If all variants train about as many, the first table shows it.
  if not groups or len(groups[0]) == trained:
    return []
  cells = []
  for i, group in enumerate(groups):
    values = [row.average.values if row.average else () for row in group]
    for row, of_row in zip(group, values, strict=True):
      behind = (
        '' if row is group[0] else _number(*difference(of_row, values[0]))
      )
      cells.append(
        (
          row.variant,
          str(i + 1),
          f'{row.trainable_parameters:,}',
          _estimate(row.average),
          behind,
        )
      )
  header = ('variant', 'group', 'trained', 'average', 'behind the first')
  return [
    '',
    '## At equal parameters',
    '',
    'Variants whose trained parameters differ by at most '
    f"{100 * EQUAL_PARAMETERS - 100:.0f} %; differences with Welch's "
    'interval, not corrected for their number.',
    '',
    table(header, cells),
  ]


def _search(search: Sequence[Tried]) -> list[str]:
  if not search:
    return []
  cells = [
    (
      one.variant,
      one.choice,
      '–' if one.average is None else f'{one.average:.2f}',
      'chosen' if one.chosen else '',
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


def _costs(rows: Sequence[Row], runs: Sequence[EvaluatedRun]) -> list[str]:
  """Times and memory; as they are measured, they differ between sweeps."""
  number = lambda x, form: '–' if x is None else format(x, form)
  cells = [
    (
      row.variant,
      number(row.seconds_per_step, '.3g'),
      number(row.training_seconds, ',.0f'),
      number(row.evaluation_seconds, ',.0f'),
      number(row.step_bytes and row.step_bytes / 2**20, ',.1f'),
    )
    for row in rows
    if row.average
  ]
  if not cells:
    return []
  kinds = ', '.join(sorted({run.device_kind for run in runs}))
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


def _seeds(row: Row) -> str:
  count, wanted = len(row.seeds), row.wanted
  if not row.is_trained:
    return '' if count else '0 of 1'
  return str(count) if count == wanted else f'{count} of {wanted}'


def _estimate(one: Estimate | None) -> str:
  return '–' if one is None else _number(one.mean, one.half)


def _number(mean: float, half: float | None) -> str:
  return f'{mean:.2f}' + ('' if half is None else f' ± {half:.2f}')
