"""A comparison as a table, and as a page to read."""

from moe_lite.core import tables
from moe_lite.data.catalog import MEDIAN
from moe_lite.evaluation import published_page
from moe_lite.evaluation.comparison import Comparison


def table(comparison: Comparison) -> str:
  """The medians as a Markdown table that also reads well as plain text."""
  runs = comparison.runs
  rows = [
    (
      dataset.dataset,
      str(dataset.prompts),
      _number(dataset.chance),
      *map(_number, dataset.medians),
    )
    for dataset in comparison.datasets
  ]
  rows += [
    (
      f'{column.column}, mean of {len(column.datasets)}',
      '',
      _number(column.chance),
      *map(_number, column.medians),
    )
    for column in comparison.columns
    if len(column.datasets) > 1
  ]
  averages = [run.average for run in runs if run.average]
  if len(averages) == len(runs):
    medians = (_number(average.median) for average in averages)
    rows.append(('average', '', _number(averages[0].chance), *medians))
  counts = [
    (run.checkpoint.trainable_parameters, run.checkpoint.base_parameters)
    for run in runs
  ]
  rows += [
    ('trained', '', '', *(f'{count:,}' for count, _ in counts)),
    ('% of base', '', '', *(f'{100 * n / base:.3g}' for n, base in counts)),
  ]
  header = ('data set', 'prompts', 'chance', *(run.name for run in runs))
  return tables.table(header, rows)


def markdown(comparison: Comparison) -> str:
  """The whole page: the table, what others published, and the checkpoints."""
  settings = comparison.settings
  lines = [
    f'# {settings.mixture_or_task_name}, split {settings.split}',
    '',
    'Median over the prompts of a data set; accuracy in percent where choices '
    'are ranked.',
    '',
    table(comparison),
    *published_page.section(
      comparison.published,
      [column.column for column in comparison.columns],
      {MEDIAN: None},
    ),
    '',
  ]
  for run in comparison.runs:
    found = run.checkpoint
    step = '' if found.step is None else f', step {found.step}'
    base = f'{found.base.source} ({found.base.fingerprint})'
    lines.append(f'- {run.name}: {found.checkpoint}{step}; base {base}')
  return '\n'.join(lines) + '\n'


def _number(value: float | None) -> str:
  return '–' if value is None else f'{value:.1f}'
