"""Several evaluations side by side: data sets down, runs across.

What is compared was measured on the same tasks: same mixture, split and
feature lengths. The table shows what each run trained beside what it reached,
because methods are to be compared at what they cost.
"""

import collections
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.core import tables
from moe_lite.core.errors import UserError
from moe_lite.evaluation import results

# Settings that must agree for numbers to mean the same.
_SAME = (
  'mixture_or_task_name',
  'split',
  'task_feature_lengths',
  'length_normalized',
)
_CLASS = re.compile(r'(\w+)\((.*)\)')

FROZEN = 'frozen base'


def read(folders: Sequence[str]) -> list[dict[str, Any]]:
  """The `results.json` of each EVAL_OUTPUT_DIR.

  Raises:
    UserError: if one is missing, not complete, or of other tasks.
  """
  found = [_read(folder) for folder in folders]
  for folder, outcome in zip(folders, found, strict=True):
    for key in _SAME:
      first, now = found[0]['settings'][key], outcome['settings'][key]
      if first != now:
        raise UserError(
          f'{folder} was evaluated with {key} = {now!r}, but {folders[0]} with '
          f'{first!r}: they cannot be compared.'
        )
    # The same mixture may have been another one, in an older version.
    for what, key in (('datasets', 'dataset'), ('tasks', 'task')):
      first, now = (
        {record[key] for record in evaluation[what]}
        for evaluation in (found[0], outcome)
      )
      if first != now:
        raise UserError(
          f'One of {folders[0]} and {folder} lacks {key} '
          f'{sorted(first ^ now)[0]}: evaluate both with one version of the '
          'mixture.'
        )
  return found


def compare(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Lays evaluations of the same tasks side by side.

  Returns:
    `runs`, with each one's `name`, `checkpoint`, `step`, counts of parameters
    and `average`; `datasets`, each with `chance`, `prompts`, and in order of
    the runs the `medians` over prompts, `quartiles` and all prompts' `values`;
    `columns` of the average, likewise; `settings`, and what others
    `published`, shared by all.
  """
  names = _distinct([_name(outcome['checkpoint']) for outcome in evaluations])
  runs = [
    {
      'name': name,
      **outcome['checkpoint'],
      'average': outcome['average'],
      'seconds': sum(task['seconds'] for task in outcome['tasks']),
    }
    for name, outcome in zip(names, evaluations, strict=True)
  ]
  by_run = [
    {(d['dataset'], d['metric']): d for d in outcome['datasets']}
    for outcome in evaluations
  ]
  by_prompt = [results.by_prompt(outcome['tasks']) for outcome in evaluations]
  datasets = [
    {
      **{key: first[key] for key in ('dataset', 'metric', 'cluster')},
      **{key: first[key] for key in ('held_out', 'prompts', 'chance')},
      'medians': [run[key]['median'] for run in by_run],
      'quartiles': [[run[key]['q1'], run[key]['q3']] for run in by_run],
      'values': [run[key] for run in by_prompt],
    }
    for key, first in by_run[0].items()
  ]
  columns = [
    {
      **{key: first[key] for key in ('column', 'datasets', 'chance')},
      'medians': [outcome['columns'][i]['median'] for outcome in evaluations],
    }
    for i, first in enumerate(evaluations[0]['columns'])
  ]
  return {
    'settings': evaluations[0]['settings'],
    'runs': runs,
    'datasets': datasets,
    'columns': columns,
    'published': evaluations[0].get('published'),
  }


def table(comparison: Mapping[str, Any]) -> str:
  """The medians as a Markdown table that also reads well as plain text."""
  runs = comparison['runs']
  header = ('data set', 'prompts', 'chance', *(run['name'] for run in runs))
  number = lambda x: '–' if x is None else f'{x:.1f}'
  rows = [
    (
      dataset['dataset'],
      str(dataset['prompts']),
      number(dataset['chance']),
      *map(number, dataset['medians']),
    )
    for dataset in comparison['datasets']
  ]
  rows += [
    (
      f'{column["column"]}, mean of {len(column["datasets"])}',
      '',
      number(column['chance']),
      *map(number, column['medians']),
    )
    for column in comparison['columns']
    if len(column['datasets']) > 1
  ]
  averages = [run['average'] for run in runs]
  if all(averages):
    rows.append(
      (
        'average',
        '',
        number(averages[0]['chance']),
        *(number(average['median']) for average in averages),
      )
    )
  counts = [(r['trainable_parameters'], r['base_parameters']) for r in runs]
  rows += [
    ('trained', '', '', *(f'{count:,}' for count, _ in counts)),
    ('% of base', '', '', *(f'{100 * n / base:.3g}' for n, base in counts)),
  ]
  return tables.table(header, rows)


def markdown(comparison: Mapping[str, Any]) -> str:
  """The comparison as a page."""
  settings = comparison['settings']
  lines = [
    f'# {settings["mixture_or_task_name"]}, split {settings["split"]}',
    '',
    'Median over the prompts of a data set; accuracy in percent where choices '
    'are ranked.',
    '',
    table(comparison),
    *results.published(comparison['published']),
    '',
  ]
  for run in comparison['runs']:
    step = '' if run['step'] is None else f', step {run["step"]}'
    base = f'{run["base"]["source"]} ({run["base"]["fingerprint"]})'
    lines.append(f'- {run["name"]}: {run["checkpoint"]}{step}; base {base}')
  return '\n'.join(lines) + '\n'


def _read(folder: str) -> dict[str, Any]:
  path = epath.Path(folder) / results.JSON
  if not path.exists():
    raise UserError(
      f'{folder} has no {results.JSON}. Give the EVAL_OUTPUT_DIR of '
      'evaluations.'
    )
  outcome = json.loads(path.read_text())
  if not {'checkpoint', 'settings', 'datasets'} <= outcome.keys():
    raise UserError(f'{path} is not the result of an evaluation.')
  if not outcome['complete']:
    raise UserError(
      f'The evaluation in {folder} is not complete. Run its command again: it '
      'goes on where it stopped.'
    )
  return outcome


def _name(checkpoint: Mapping[str, Any]) -> str:
  """'MoV-10', 'MoLoRA-10 rank 4', 'full fine-tuning' or 'frozen base'."""
  if not checkpoint['trainable_parameters']:
    return FROZEN
  kinds = [_CLASS.fullmatch(text) for text in checkpoint['method'].values()]
  if not kinds:
    return 'full fine-tuning'
  (kind, options), _ = collections.Counter(
    match.groups() for match in kinds if match
  ).most_common(1)[0]
  experts = re.search(r'\bnum_experts=(\d+)', options)
  rank = re.search(r'\brank=(\d+)', options)
  return (
    kind
    + (f'-{experts[1]}' if experts else '')
    + (f' rank {rank[1]}' if rank else '')
  )


def _distinct(names: Sequence[str]) -> list[str]:
  """Numbers names that occur more than once."""
  seen: collections.Counter[str] = collections.Counter()
  distinct = []
  for name in names:
    seen[name] += 1
    distinct.append(f'{name} ({seen[name]})' if seen[name] > 1 else name)
  return distinct
