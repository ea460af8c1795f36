"""What others reported, beside results: like is compared with like."""

from moe_lite.data.catalog import MEAN, MEDIAN, Published, PublishedTable
from moe_lite.evaluation import published_page

COLUMNS = ('anli', 'wic')
MEDIAN_ROW = Published(
  *('MoV-10', 59.93, 'N', MEDIAN, COLUMNS, ('story_cloze',)),
  steps=500_000,
  batch=32,
  source='a paper',
)
MEAN_ROW = Published(
  *('T0-3B', 51.66, 'S', MEAN, COLUMNS, ()),
  source='a model card',
  scores=(33.4, 69.92),
)
MARKS = {'N': 'from notes', 'S': 'secondary'}
OWN = {MEDIAN: (45.0, 55.0), MEAN: (44.0, 55.0)}


def known(*rows):
  return PublishedTable('a paper', rows, MARKS)


def cells(lines):
  return [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in '\n'.join(lines).split('\n')
    if line.startswith('|') and '--' not in line
  ]


def test_a_row_stands_beside_our_average_by_its_own_convention():
  header, median, mean, *_ = cells(
    published_page.section(known(MEDIAN_ROW, MEAN_ROW), COLUMNS, OWN)
  )
  assert header == [
    *('published', 'average', 'over prompts', 'here', 'steps × batch'),
    *('left out', 'source', 'mark'),
  ]
  assert median == [
    *('MoV-10', '59.93', 'median', '50.00', '500,000 × 32'),
    *('story_cloze', 'a paper', 'N'),
  ]
  assert mean == [
    *('T0-3B', '51.66', 'mean', '49.50', 'not told'),
    *('none', 'a model card', 'S'),
  ]


def test_scores_of_columns_stand_beside_ours():
  lines = published_page.section(known(MEDIAN_ROW, MEAN_ROW), COLUMNS, OWN)
  assert cells(lines)[3:] == [
    ['mean over prompts', 'anli', 'wic'],
    ['here', '44.00', '55.00'],
    ['T0-3B', '33.40', '69.92'],
  ]
  # In whatever order the columns of the evaluation are.
  own = {MEAN: (55.0, 44.0)}
  lines = published_page.section(known(MEAN_ROW), COLUMNS[::-1], own)
  assert cells(lines)[2:] == [
    ['mean over prompts', 'wic', 'anli'],
    ['here', '55.00', '44.00'],
    ['T0-3B', '69.92', '33.40'],
  ]


def test_only_rows_by_a_convention_of_ours_are_shown():
  lines = published_page.section(
    known(MEDIAN_ROW, MEAN_ROW), COLUMNS, {MEDIAN: None}
  )
  header, *rows = cells(lines)
  assert 'here' not in header and [row[0] for row in rows] == ['MoV-10']
  text = '\n'.join(lines)
  assert 'N: from notes' in text and 'secondary' not in text
  assert 'Not shown are 1 ' in text and 'here' not in text


def test_rows_over_other_columns_or_of_unknown_ways_are_counted_only():
  vague = Published('old', 1.0, 'N')
  table = known(MEDIAN_ROW, vague)
  assert [row[0] for row in cells(published_page.section(table, COLUMNS, OWN))][
    1:
  ] == ['MoV-10']
  lines = published_page.section(table, ('anli',), {MEDIAN: (45.0,)})
  assert not cells(lines) and 'Not shown are 2 ' in '\n'.join(lines)


def test_all_that_is_shown_needs_no_count():
  text = '\n'.join(published_page.section(known(MEDIAN_ROW), COLUMNS, OWN))
  assert 'Not shown' not in text and 'anli, wic' in text


def test_nothing_known_is_nothing_said():
  assert published_page.section(None, COLUMNS, OWN) == []
