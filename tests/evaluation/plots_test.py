"""The picture of a comparison: what it says of prompts, runs and chance."""

import numpy as np
import pytest
from matplotlib import image

from moe_lite.core import pictures
from moe_lite.evaluation import comparison, plots
from tests import figures
from tests.evaluation.outcomes import LORA, MOV, evaluation, outcome, task

RUNS = {
  'one': [outcome()],
  'three': [outcome(), outcome(MOV, 20), outcome(LORA, 10)],
  'no chance': [evaluation([task('free', 3.0, metric='bleu', chance=None)])],
}


def draw(name, path):
  compared = comparison.compare(RUNS[name])
  return compared, figures.drawn(plots.prompt_boxes, compared, path)


@pytest.mark.parametrize('name', RUNS)
def test_every_data_set_and_run_is_named_beside_its_prompts(name, tmp_path):
  compared, figure = draw(name, tmp_path / 'x.png')
  said = figures.words(figure)
  for dataset in compared.datasets:
    assert said.count(f'{dataset.dataset}') == 1
    for median in dataset.medians:
      assert f'{median:.1f}' in said
    if dataset.chance is not None:
      assert f'chance {dataset.chance:.1f}' in said
  for run in compared.runs:
    assert said.split('\n').count(run.name) == len(compared.datasets)
  assert not figures.collisions(figure)


def test_every_prompt_is_a_dot_at_its_value_in_the_row_of_its_run(tmp_path):
  compared, figure = draw('three', tmp_path / 'x.png')
  (axes,) = figure.axes
  dots = [x for x in axes.lines if x.get_linestyle() == 'None']
  wanted = [v for dataset in compared.datasets for v in dataset.values]
  assert [list(x.get_xdata()) for x in dots] == [list(v) for v in wanted]
  rows = [set(x.get_ydata()) for x in dots]
  assert all(len(row) == 1 for row in rows)
  assert len(set.union(*rows)) == len(dots)
  assert pictures.GREY not in {x.get_color() for x in dots}


def test_accuracy_is_in_percent_up_to_100_and_other_metrics_are_not(tmp_path):
  _, figure = draw('one', tmp_path / 'x.png')
  (axes,) = figure.axes
  assert axes.get_xlim() == (0, 100)
  assert axes.get_xlabel().startswith('accuracy, %')
  _, figure = draw('no chance', tmp_path / 'y.png')
  (axes,) = figure.axes
  assert axes.get_xlabel().startswith('bleu:')
  assert axes.get_xlim() != (0, 100)


def test_the_file_is_a_picture(tmp_path):
  path = tmp_path / 'x.png'
  plots.prompt_boxes(comparison.compare(RUNS['one']), path)
  assert np.ptp(image.imread(path)) > 0
