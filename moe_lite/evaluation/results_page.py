"""An evaluation as a page to read, `results.md`."""

from collections.abc import Iterable

from moe_lite.core.tables import table
from moe_lite.data.catalog import MEAN, MEDIAN
from moe_lite.evaluation import published_page
from moe_lite.evaluation.results import Evaluation, TaskResult
from moe_lite.inference.facts import Facts


def markdown(evaluation: Evaluation) -> str:
  """The whole page: the summary, then every prompt and what to know of it."""
  rows = [
    (
      task.task,
      task.metric,
      f'{task.value:.2f}',
      _number(task.shared_accuracy),
      '–' if task.ties is None else str(task.ties),
      _number(task.metrics.get('f1')),
      _number(task.chance),
      str(task.examples),
    )
    for task in evaluation.tasks
  ]
  header = (
    *('prompt', 'metric', 'value', 'ties shared', 'ties', 'F1', 'chance'),
    'examples',
  )
  return '\n'.join(
    [
      summary(evaluation),
      table(header, rows),
      *(f'\n- {note}' for note in notes(evaluation.tasks)),
      '',
    ]
  )


def summary(evaluation: Evaluation) -> str:
  """The page up to the table of prompts."""
  checkpoint, settings = evaluation.checkpoint, evaluation.settings
  step = '' if checkpoint.step is None else f', step {checkpoint.step}'
  base = checkpoint.base
  lines = [
    f'# {settings.mixture_or_task_name}, split {settings.split}',
    '',
    f'Checkpoint: {checkpoint.checkpoint}{step}. Base: {base.source} '
    f'(fingerprint {base.fingerprint}). {trained(checkpoint)}.',
  ]
  if checkpoint.stages:
    lines += ['', 'It began with the adapters of earlier stages:', '']
    lines += [f'- {name}: {what}' for name, what in checkpoint.stages.items()]
  if not evaluation.complete:
    lines += ['', 'Not complete: run the same command again to go on.']
  if most := settings.num_examples:
    lines += ['', f'Only the first {most} examples of each task were measured.']
  if average := evaluation.average:
    lines += [
      '',
      f'**Average over data sets of the median over prompts: '
      f'{average.median:.2f}** (mean over prompts {average.mean:.2f}, '
      f'chance {_number(average.chance)}).',
    ]
  lines += ['', _datasets(evaluation)]
  lines += _columns(evaluation)
  lines += _published(evaluation)
  return '\n'.join([*lines, ''])


def notes(tasks: Iterable[TaskResult]) -> list[str]:
  """What a reader of the numbers should know of the rows behind them."""
  found = []
  for task in tasks:
    if count := task.none_correct:
      found.append(
        f'{task.task}: {count} of {task.examples} examples have no correct '
        'choice, and count as wrong.'
      )
    if count := task.several_correct:
      found.append(
        f'{task.task}: {count} of {task.examples} examples have several '
        'correct choices, any of which counts as right.'
      )
    if count := task.trimmed_targets:
      found.append(
        f'{task.task}: {count} of {task.rows} choices are longer than the '
        'targets may be, and were scored without their end.'
      )
    if count := task.ties:
      found.append(
        f'{task.task}: in {count} of {task.examples} examples a right and a '
        f'wrong choice have the same score, and the first one wins. If they '
        f'shared the credit, the accuracy would be {task.shared_accuracy:.2f} '
        f'in place of {task.value:.2f}.'
      )
    if count := task.equal_choices:
      found.append(
        f'{task.task}: {count} of {task.examples} examples have choices that '
        'are equal, or equal once they are trimmed.'
      )
    if count := task.trimmed_inputs:
      found.append(
        f'{task.task}: {count} of {task.examples} inputs are longer than '
        'inputs may be, and were read without their end.'
      )
  return found


def trained(checkpoint: Facts) -> str:
  """'16,384 parameters trained, 1.23 % of the base', or that none were."""
  count = checkpoint.trainable_parameters
  if not count:
    return 'Nothing trained'
  share = f'{100 * count / checkpoint.base_parameters:.3g} %'
  return f'{count:,} parameters trained, {share} of the base'


def _datasets(evaluation: Evaluation) -> str:
  rows = [
    (
      dataset.dataset,
      dataset.metric,
      str(dataset.prompts),
      f'{dataset.median:.2f}',
      f'{dataset.mean:.2f}',
      f'{dataset.q1:.2f} to {dataset.q3:.2f}',
      _number(dataset.chance),
    )
    for dataset in evaluation.datasets
  ]
  header = ('data set', 'metric', 'prompts', 'median', 'mean', 'quartiles')
  return table((*header, 'chance'), rows)


def _columns(evaluation: Evaluation) -> list[str]:
  """The columns of the average, unless every data set is its own column."""
  columns, average = evaluation.columns, evaluation.average
  if average is None or all(len(column.datasets) == 1 for column in columns):
    return []
  rows = [
    (name, count, f'{of.median:.2f}', f'{of.mean:.2f}', _number(of.chance))
    for name, count, of in (
      *(
        (column.column, str(len(column.datasets)), column) for column in columns
      ),
      ('average', '', average),
    )
  ]
  header = ('column', 'data sets', 'median', 'mean', 'chance')
  return ['', table(header, rows)]


def _published(evaluation: Evaluation) -> list[str]:
  """What others reported; none before all of the mixture is measured."""
  if not evaluation.complete:
    return []
  columns = evaluation.columns
  return published_page.section(
    evaluation.published,
    [column.column for column in columns],
    {
      MEDIAN: [column.median for column in columns],
      MEAN: [column.mean for column in columns],
    },
  )


def _number(value: float | None) -> str:
  return '–' if value is None else f'{value:.2f}'
