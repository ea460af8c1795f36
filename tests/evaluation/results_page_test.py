"""The page of one evaluation."""

from moe_lite.data.catalog import MEAN, MEDIAN, Published, PublishedTable
from moe_lite.evaluation import results_page
from tests.evaluation.outcomes import MOV, evaluation, facts, task


def checkpoint():
  return facts(MOV, 1234, step=300, base_parameters=123400)


def test_the_page_shows_numbers_and_their_flaws():
  tasks = [
    task('a', 40.0, none_correct=2),
    task('a', 60.0, several_correct=1),
    task('b', 25.0, trimmed_targets=3, chance=None),
  ]
  text = results_page.markdown(evaluation(tasks, checkpoint(), complete=False))
  assert 'step 300' in text and 'fingerprint abc' in text
  assert '1,234 parameters trained, 1 % of the base' in text
  assert '37.50' in text  # (50 + 25) / 2
  assert 'Not complete' in text
  assert '2 of 10 examples have no correct choice' in text
  assert '1 of 10 examples have several correct choices' in text
  assert '3 of 20 choices are longer' in text


def test_the_summary_is_the_page_up_to_the_prompts():
  found = evaluation([task('a', 40.0)], checkpoint())
  beginning, prompts = results_page.markdown(found).split('\n| prompt')
  assert results_page.summary(found) == beginning
  assert 'a_40.0' in prompts and 'Nothing trained' not in beginning
  assert 'Nothing trained' in results_page.summary(
    evaluation([task('a', 40.0)])
  )


def test_columns_and_published_averages_stand_beside_the_average():
  tasks = [
    task('r1', 30.0, column='anli'),
    task('r2', 40.0, column='anli'),
    *(task('wic', value) for value in (50.0, 55.0, 63.0)),
  ]
  columns = ('anli', 'wic')
  published = PublishedTable(
    'a paper',
    (
      Published('MoV-10', 59.93, 'N', MEDIAN, columns, source='a paper'),
      Published('T0-3B', 51.66, 'N', MEAN, columns, source='a card'),
    ),
    {'N': 'from notes'},
  )
  text = results_page.markdown(evaluation(tasks, published=published))
  rows = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in text.split('\n')
    if line.startswith('|')
  ]
  assert ['anli', '2', '35.00', '35.00', '50.00'] in rows
  assert ['average', '', '45.00', '45.50', '50.00'] in rows
  # An average by median stands beside ours by median, and a mean by the mean.
  assert ['MoV-10', '59.93', 'median', '45.00'] in [row[:4] for row in rows]
  assert ['T0-3B', '51.66', 'mean', '45.50'] in [row[:4] for row in rows]
  assert 'N: from notes' in text
  # What is not whole is compared with nothing.
  part = evaluation(tasks, published=published, complete=False)
  assert 'MoV-10 ' not in results_page.markdown(part)
  # Where every data set is its own column, the columns are not repeated.
  assert '| column' not in results_page.markdown(evaluation(tasks[2:]))
