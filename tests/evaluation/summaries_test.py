"""Medians, columns and averages."""

from moe_lite.evaluation.summaries import summarize
from tests.evaluation.outcomes import task


def test_median_over_an_even_number_of_prompts_is_the_mean_of_the_middle_two():
  summary = summarize(task('a', v) for v in (90.0, 10.0, 40.0, 30.0))
  (dataset,) = summary.datasets
  assert dataset.median == 35
  assert dataset.mean == 42.5
  assert (dataset.q1, dataset.q3) == (25, 52.5)
  assert (dataset.min, dataset.max) == (10, 90)
  assert dataset.prompts == 4
  assert dataset.chance == 50


def test_average_is_over_columns_of_data_sets():
  tasks = [
    *(task('r1', v, column='anli') for v in (30.0, 32.0, 40.0)),
    *(task('r2', v, column='anli') for v in (34.0, 36.0)),
    *(task('wic', v) for v in (50.0, 60.0, 55.0)),
  ]
  summary = summarize(tasks)
  assert [d.median for d in summary.datasets] == [32, 35, 55]
  anli, wic = summary.columns
  assert anli.datasets == ['r1', 'r2'] and anli.median == 33.5
  assert wic.column == 'wic' and wic.median == 55
  assert summary.average.median == (33.5 + 55) / 2
  assert summary.average.chance == 50


def test_other_metrics_stay_out_of_the_average():
  tasks = [task('a', 40.0), task('b', 3.0, metric='bleu', chance=None)]
  summary = summarize(tasks)
  assert len(summary.datasets) == 2
  assert summary.average.median == 40
  assert summarize(tasks[1:]).average is None


def test_the_chance_of_a_data_set_is_known_if_that_of_every_prompt_is():
  tasks = [task('a', 40.0), task('a', 50.0, chance=None)]
  (dataset,) = summarize(tasks).datasets
  assert dataset.chance is None
