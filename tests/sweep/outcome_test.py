"""Means, intervals, choices and groups, against SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats

from moe_lite.sweep import outcome, tables
from moe_lite.sweep.plots import intervals


def row(name, trained, values, **changes):
  mean, half = outcome.interval(values)
  average = {'values': list(values), 'mean': mean, 'half': half}
  return {
    'variant': name,
    'is_trained': trained > 0,
    'trainable_parameters': trained,
    'base_parameters': 1000,
    'share': trained / 10,
    'wanted': len(values),
    'seeds': list(range(len(values))),
    'choice': {},
    'at_edge': [],
    'average': average,
    'columns': {'who': average},
    'step_bytes': None,
    **changes,
  }


def test_intervals_are_those_of_students_t():
  values = [70.1, 72.5, 69.3, 74.0, 71.2]
  mean, half = outcome.interval(values)
  low, high = scipy.stats.t.interval(
    0.95, 4, loc=np.mean(values), scale=scipy.stats.sem(values)
  )
  np.testing.assert_allclose([mean - half, mean + half], [low, high])
  # By a table: 2.776 is the quantile of four degrees of freedom.
  deviation = np.std(values, ddof=1)
  np.testing.assert_allclose(half, 2.776 * deviation / 5**0.5, rtol=1e-3)
  assert outcome.interval([3.0]) == (3.0, None)


def test_differences_have_welchs_interval():
  a, b = [70.0, 72.0, 71.0], [65.0, 60.0, 66.0, 69.0]
  mean, half = outcome.difference(a, b)
  variances = [np.var(x, ddof=1) / len(x) for x in (a, b)]
  freedom = sum(variances) ** 2 / sum(
    v**2 / (len(x) - 1) for v, x in zip(variances, (a, b), strict=True)
  )
  wanted = scipy.stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
  np.testing.assert_allclose([mean, half], [6.0, wanted])
  assert outcome.difference([1.0], [0.0, 2.0]) == (0.0, None)
  assert outcome.difference([1.0, 1.0], [2.0, 2.0]) == (-1.0, 0.0)


def test_rows_are_grouped_by_what_they_train():
  rows = [
    row('frozen base', 0, [40.0]),
    row('LoRA', 100, [50.0, 52.0]),
    row('MoV', 114, [60.0, 61.0]),
    row('MoLoRA', 116, [55.0, 56.0]),
    row('full', 1000, [70.0, 71.0]),
  ]
  groups = outcome.equal_parameters(rows)
  assert [[r['variant'] for r in group] for group in groups] == [
    ['MoV', 'LoRA']
  ]


def page(rows, **changes):
  swept = {
    'complete': True,
    'confidence': 0.95,
    'settings': {'mixture_or_task_name': 'suite', 'split': 'validation'},
    'rows': rows,
    'search': [],
    'failed': {},
    'runs': [],
    **changes,
  }
  return tables.markdown('name', swept)


def cells(text):
  return [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in text.splitlines()
    if line.startswith('|')
  ]


def test_the_page_has_numbers_and_what_to_know_of_them():
  rows = [
    row('frozen base', 0, [40.0], choice=None),
    row('LoRA', 40, [50.0, 52.0], choice={'LEARNING_RATE': 0.3}),
    row(
      'MoV',
      41,
      [60.0, 61.0, 62.0],
      wanted=5,
      choice={'LEARNING_RATE': 0.1},
      at_edge=['LEARNING_RATE'],
    ),
    row('full', 1000, [70.0, 72.0], choice={'LEARNING_RATE': 0.01}),
  ]
  text = page(rows, complete=False, failed={'MoV, seed 4': 'no room'})
  found = cells(text)
  header = ['variant', 'search', 'trained', '% of base', 'seeds', 'average']
  assert found[0] == [*header, 'who']
  half = scipy.stats.t.ppf(0.975, 2) / 3**0.5
  mean = f'61.00 ± {half:.2f}'
  assert ['MoV', '0.1', '41', '4.1', '3 of 5', mean, mean] in found
  assert ['frozen base', '', '0', '0', '', '40.00', '40.00'] in found
  assert 'Not complete' in text and 'FAILED MoV, seed 4: no room' in text
  assert 'MoV: LEARNING_RATE = 0.1 is at the edge of the search' in text
  (behind,) = [line for line in found if line[:2] == ['LoRA', '1']]
  assert behind[-1].startswith('-10.00 ± ')
  csv = tables.spreadsheet(rows).splitlines()
  assert csv[3].startswith('MoV,LEARNING_RATE=0.1,41,1000,4.1,3,61.0,')


def test_many_columns_stay_off_the_page():
  one = {'values': [1.0], 'mean': 1.0, 'half': None}
  rows = [row('a', 1, [1.0], columns={f'c{i}': one for i in range(9)})]
  assert 'c3' not in page(rows) and 'c8' in tables.spreadsheet(rows)


@pytest.mark.parametrize('seeds', [1, 3])
def test_the_picture_is_drawn(seeds, tmp_path):
  rows = [
    row('frozen base', 0, [40.0]),
    row('a', 10, [50.0, 51.0, 53.0][:seeds]),
    row('b', 10, [50.0, 51.0, 53.0][:seeds]),
    row('none', 10, [1.0], average=None),
  ]
  intervals(rows, tmp_path / 'x.png')
  assert (tmp_path / 'x.png').read_bytes()[:4] == b'\x89PNG'
