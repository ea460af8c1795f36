"""Medians, columns and averages, and the page that shows them."""

import json

from moe_lite.core.tables import table
from moe_lite.evaluation import results


def record(dataset, value, column=None, **changes):
  return {
    'task': f'{dataset}_{value}',
    'dataset': dataset,
    'column': column,
    'cluster': 'c',
    'held_out': True,
    'metric': 'accuracy',
    'value': value,
    'metrics': {'accuracy': value},
    'chance': 50.0,
    'examples': 10,
    'rows': 20,
    **changes,
  }


def test_median_over_an_even_number_of_prompts_is_the_mean_of_the_middle_two():
  summary = results.summarize(record('a', v) for v in (90.0, 10.0, 40.0, 30.0))
  (dataset,) = summary['datasets']
  assert dataset['median'] == 35
  assert dataset['mean'] == 42.5
  assert (dataset['q1'], dataset['q3']) == (25, 52.5)
  assert (dataset['min'], dataset['max']) == (10, 90)
  assert dataset['prompts'] == 4
  assert dataset['chance'] == 50


def test_average_is_over_columns_of_data_sets():
  tasks = [
    *(record('r1', v, column='anli') for v in (30.0, 32.0, 40.0)),
    *(record('r2', v, column='anli') for v in (34.0, 36.0)),
    *(record('wic', v) for v in (50.0, 60.0, 55.0)),
  ]
  summary = results.summarize(tasks)
  assert [d['median'] for d in summary['datasets']] == [32, 35, 55]
  anli, wic = summary['columns']
  assert anli['datasets'] == ['r1', 'r2'] and anli['median'] == 33.5
  assert wic['column'] == 'wic' and wic['median'] == 55
  assert summary['average']['median'] == (33.5 + 55) / 2
  assert summary['average']['chance'] == 50


def test_other_metrics_stay_out_of_the_average():
  tasks = [record('a', 40.0), record('b', 3.0, metric='bleu', chance=None)]
  summary = results.summarize(tasks)
  assert len(summary['datasets']) == 2
  assert summary['average']['median'] == 40
  assert results.summarize(tasks[1:])['average'] is None


def page(tasks, complete=True):
  return {
    'complete': complete,
    'checkpoint': {
      'checkpoint': 'runs/mov',
      'step': 300,
      'base': {'source': 'mini', 'fingerprint': 'abc'},
      'trainable_parameters': 1234,
      'base_parameters': 123400,
    },
    'settings': {'mixture_or_task_name': 'suite', 'split': 'validation'},
    'tasks': tasks,
    **results.summarize(tasks),
  }


def test_the_page_shows_numbers_and_their_flaws():
  tasks = [
    record('a', 40.0, none_correct=2),
    record('a', 60.0, several_correct=1),
    record('b', 25.0, trimmed_targets=3, chance=None),
  ]
  text = results.markdown(page(json.loads(json.dumps(tasks)), complete=False))
  assert 'step 300' in text and 'fingerprint abc' in text
  assert '1,234 parameters trained, 1 % of the base' in text
  assert '37.50' in text  # (50 + 25) / 2
  assert 'Not complete' in text
  assert '2 of 10 examples have no correct choice' in text
  assert '1 of 10 examples have several correct choices' in text
  assert '3 of 20 choices are longer' in text


def test_tables_line_up():
  lines = table(('a', 'b'), [('long name', '1'), ('x', '1000')])
  assert len({len(line) for line in lines.split('\n')}) == 1
  assert lines.split('\n')[1] == '| --------- | ---: |'


def test_columns_and_published_averages_stand_beside_the_average():
  tasks = [
    record('r1', 30.0, column='anli'),
    record('r2', 40.0, column='anli'),
    record('wic', 55.0),
  ]
  published = {
    'source': 'a paper',
    'averages': [{'name': 'MoV-10', 'average': 59.93, 'mark': 'N'}],
    'marks': {'N': 'from notes'},
  }
  text = results.markdown({**page(tasks), 'published': published})
  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in text.split('\n')
    if line.startswith('|')
  ]
  assert ['anli', '2', '35.00', '35.00', '50.00'] in rows
  assert ['average', '', '45.00', '45.00', '50.00'] in rows
  assert ['MoV-10', '59.93', 'N'] in rows
  assert 'a paper (N: from notes)' in text
  # Where every data set is its own column, the columns are not repeated.
  assert '| column' not in results.markdown(page(tasks[2:]))
