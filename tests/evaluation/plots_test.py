"""The picture of a comparison."""

import numpy as np
import pytest
from matplotlib import image

from moe_lite.evaluation import comparison, plots
from tests.evaluation.outcomes import LORA, MOV, evaluation, outcome, task


@pytest.mark.parametrize(
  'evaluations',
  [
    [outcome()],
    [outcome(), outcome(MOV, 20), outcome(LORA, 10)],
    [evaluation([task('free', 3.0, metric='bleu', chance=None)])],
  ],
  ids=['one', 'three', 'no chance'],
)
def test_the_picture_is_drawn(evaluations, tmp_path):
  path = tmp_path / 'x.png'
  plots.prompt_boxes(comparison.compare(evaluations), path)
  pixels = image.imread(path)
  assert np.ptp(pixels) > 0
