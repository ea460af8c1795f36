"""The page of a sweep."""

import scipy.stats

from moe_lite.sweep import sweep_files, tables
from moe_lite.sweep.intervals import estimate
from moe_lite.sweep.rows import Tried
from tests.sweep.swept import row, swept


def page(rows, **changes):
  return tables.markdown('name', swept(rows, **changes))


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
  search = [
    Tried(name, f'LEARNING_RATE={rate}', {'LEARNING_RATE': rate}, 50.0, True)
    for name, rate in (('LoRA', 0.3), ('MoV', 0.1))
  ]
  text = page(
    rows, complete=False, failed={'MoV, seed 4': 'no room'}, search=search
  )
  found = cells(text)
  header = ['variant', 'search', 'trained', '% of base', 'seeds', 'average']
  assert found[0] == [*header, 'who']
  half = scipy.stats.t.ppf(0.975, 2) / 3**0.5
  mean = f'61.00 ± {half:.2f}'
  assert ['MoV', '0.1', '41', '4.1', '3 of 5', mean, mean] in found
  assert ['frozen base', '', '0', '0', '', '40.00', '40.00'] in found
  # Its rate was not searched.
  (full,) = [line for line in found if line[:3] == ['full', '', '1,000']]
  assert full[-1].startswith('71.00 ± ')
  assert 'Not complete' in text and 'FAILED MoV, seed 4: no room' in text
  assert 'MoV: LEARNING_RATE = 0.1 is at the edge of the search' in text
  (behind,) = [line for line in found if line[:2] == ['LoRA', '1']]
  assert behind[-1].startswith('-10.00 ± ')
  csv = sweep_files.spreadsheet(rows).splitlines()
  assert csv[3].startswith('MoV,LEARNING_RATE=0.1,41,1000,4.1,3,61.0,')


def test_many_columns_stay_off_the_page():
  one = estimate([1.0])
  rows = [row('a', 1, [1.0], columns={f'c{i}': one for i in range(9)})]
  assert 'c3' not in page(rows)
  assert 'c8' in sweep_files.spreadsheet(rows)


def test_without_a_search_there_is_no_column_of_it():
  found = cells(page([row('MoV', 10, [50.0], choice={'LEARNING_RATE': 0.1})]))
  assert 'search' not in found[0] and '0.1' not in found[2]


def test_the_search_is_shown():
  search = [
    Tried('MoV', 'RATE=1', {'RATE': 1}, 50.0, True),
    Tried('MoV', 'RATE=2', {'RATE': 2}, 40.0, False),
    Tried('IA3', 'RATE=1', {'RATE': 1}, None),
  ]
  found = cells(page([row('MoV', 10, [50.0])], search=search))
  assert ['MoV', 'RATE=1', '50.00', 'chosen'] in found
  assert ['MoV', 'RATE=2', '40.00', ''] in found
  assert ['IA3', 'RATE=1', '–', ''] in found


def test_the_overview_needs_no_run():
  text = tables.overview({'frozen base': (0, 1000), 'MoV': (25, 1000)})
  assert cells(text)[2:] == [['frozen base', '0', '0'], ['MoV', '25', '2.5']]
