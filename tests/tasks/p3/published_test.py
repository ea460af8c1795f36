"""What was published on T0's held-out data sets, and how far it is told."""

import math
import statistics

import pytest
import seqio

from moe_lite.data import catalog
from tasks.p3 import published, suite

ROWS = {row.name: row for row in published.TABLE.averages}


def columns():
  """The columns of the mixture that the table is registered for."""
  names = [x.name for x in seqio.MixtureRegistry.get(published.MIXTURE).tasks]
  infos = [catalog.lookup(name) for name in names]
  return {info.column or info.dataset for info in infos if info}


@pytest.mark.parametrize('row', ROWS.values(), ids=ROWS)
def test_every_row_tells_how_it_came_about(row):
  assert row.convention in (catalog.MEDIAN, catalog.MEAN)
  assert set(row.columns) == columns() and len(row.columns) == 8
  assert row.dropped == ('story_cloze',)
  assert (row.steps is None) == (row.batch is None)
  assert row.source and row.mark in published.TABLE.marks


@pytest.mark.parametrize('row', ROWS.values(), ids=ROWS)
def test_scores_of_data_sets_have_the_average_of_their_row(row):
  if row.scores:
    assert len(row.scores) == len(row.columns)
    # Half of the last digit, and what floats add to 65.275.
    mean = statistics.fmean(row.scores)
    assert math.isclose(mean, row.average, abs_tol=0.005 + 1e-9)
  else:
    assert row.source == published.TABLE.source


@pytest.mark.parametrize(
  ('name', 'average', 'steps', 'batch'),
  [
    ('T0-3B as released', 51.66, None, None),
    ('T5-XL-LM, full fine-tuning', 60.36, 20_000, 2048),
    ('T0-11B as released', 61.79, None, None),
    ('T5-XXL-LM, full fine-tuning', 65.28, 20_000, 2048),
  ],
)
def test_rows_of_model_cards_are_means_over_prompts(
  name, average, steps, batch
):
  row = ROWS[name]
  assert (row.average, row.steps, row.batch) == (average, steps, batch)
  assert row.convention == catalog.MEAN and 'model card' in row.source
  says = published.TABLE.marks[row.mark]
  # Whoever wrote the card did not train what T0 released.
  assert ('secondary' in says) == ('released' in name)


def test_the_scores_of_full_fine_tuning_stand_by_their_data_sets():
  row = ROWS['T5-XL-LM, full fine-tuning']
  assert dict(zip(row.columns, row.scores, strict=True)) == {
    'anli': 41.7,
    'hellaswag': 30.1,
    'super_glue_cb': 72.7,
    'super_glue_copa': 89.1,
    'super_glue_rte': 81.2,
    'super_glue_wic': 51.7,
    'super_glue_wsc.fixed': 57.2,
    'winogrande_winogrande_xl': 59.2,
  }


def test_the_paper_has_medians_and_its_own_full_fine_tuning():
  rows = [x for x in ROWS.values() if x.source == published.TABLE.source]
  assert {row.convention for row in rows} == {catalog.MEDIAN}
  (full,) = (row for row in rows if row.average == 60.06)
  assert "the paper's own full fine-tuning" in full.name
  assert (full.steps, full.batch) == (10_000, 256)
  trained = {(row.steps, row.batch) for row in rows if row is not full}
  assert trained == {(500_000, 32)}


def test_what_does_not_follow_from_its_own_table_is_not_carried():
  assert 66.9 not in {row.average for row in ROWS.values()}


def test_the_suite_registers_the_table():
  assert suite.published is published
  assert catalog.published(published.MIXTURE) is published.TABLE
