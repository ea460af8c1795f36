"""The page of a comparison."""

import dataclasses

from moe_lite.data.catalog import MEAN, MEDIAN, Published, PublishedTable
from moe_lite.evaluation import comparison, comparison_page
from tests.evaluation.outcomes import MOV, evaluation, facts, outcome, task


def rows(text):
  return [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in text.splitlines()
    if line.startswith('|')
  ]


def test_columns_of_several_data_sets_have_a_row_of_their_own():
  tasks = [
    task('r1', 30.0, column='anli'),
    task('r2', 40.0, column='anli', chance=None),
    task('wic', 55.0),
  ]
  compared = comparison.compare([evaluation(tasks)])
  header, _, *found = rows(comparison_page.table(compared))
  assert header == ['data set', 'prompts', 'chance', 'frozen base']
  assert found == [
    ['r1', '1', '50.0', '30.0'],
    ['r2', '1', '–', '40.0'],
    ['wic', '1', '50.0', '55.0'],
    ['anli, mean of 2', '', '–', '35.0'],
    ['average', '', '–', '45.0'],
    ['trained', '', '', '0'],
    ['% of base', '', '', '0'],
  ]


def test_without_ranked_tasks_there_is_no_average():
  tasks = [task('free', 3.0, metric='bleu', chance=None)]
  compared = comparison.compare([evaluation(tasks)])
  names = [row[0] for row in rows(comparison_page.table(compared))]
  assert 'free' in names and 'average' not in names


def test_the_page_says_where_runs_are_and_what_was_published():
  columns = ('nli', 'who')
  published = PublishedTable(
    'a paper',
    (
      Published('MoV-10', 59.93, 'N', MEDIAN, columns, source='a paper'),
      Published('T0-3B', 51.66, 'N', MEAN, columns, source='a card'),
    ),
    {'N': 'from notes'},
  )
  base = dataclasses.replace(outcome(), published=published)
  mov = dataclasses.replace(
    outcome(MOV, 20), checkpoint=facts(MOV, 20, checkpoint='runs/mov')
  )
  text = comparison_page.markdown(comparison.compare([base, mov]))
  assert text.startswith('# suite, split validation\n')
  assert '\n- frozen base: base; base mini (abc)\n' in text
  assert text.endswith('\n- MoV-10: runs/mov, step 7; base mini (abc)\n')
  # The page is of medians.
  shown = [row[:3] for row in rows(text)]
  assert ['MoV-10', '59.93', 'median'] in shown and 'from notes' in text
  assert 'T0-3B' not in text and 'Not shown are 1 ' in text
