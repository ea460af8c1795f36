"""Heat maps: what their colours and their bar say."""

import numpy as np
import pytest

from moe_lite.inference import heatmaps
from tests import figures


def bar_of(figure):
  return [x.get_text() for x in figure.axes[-1].get_yticklabels()]


@pytest.mark.parametrize('panels', [1, 3, 5])
def test_panels_of_any_number_are_drawn(tmp_path, panels):
  values = {f'panel {i}': np.full((2, 3), float(i)) for i in range(panels)}
  figure = figures.drawn(
    heatmaps.draw, values, ['a', 'b'], 'expert', 'share', tmp_path / 'maps.png'
  )
  said = figures.words(figure)
  assert all(name in said for name in values)
  assert not figures.collisions(figure)


@pytest.mark.parametrize('experts', [1, 2, 10, 60])
def test_the_bar_of_preferences_ends_at_the_greatest_possible(
  tmp_path, experts
):
  values = {'x': np.array([[1.0] * experts])}
  figure = figures.drawn(
    heatmaps.draw,
    values,
    ['a'],
    'expert',
    'x',
    tmp_path / 'maps.png',
    title='t',
  )
  low, middle, high = bar_of(figure)
  most = max(2, experts)
  assert high.startswith(f'{most} (always')
  assert middle == '1 (no preference)'
  assert low == f'{1 / most:.3g} or less'
  # No preference has the colour in the middle.
  (image,) = figure.axes[0].images
  assert image.norm(1.0) == pytest.approx(0.5)
  assert [x.get_text() for x in figure.texts] == ['t']


def test_what_is_never_used_has_the_darkest_colour(tmp_path):
  values = {'x': np.array([[0.0, 2.0]])}
  figure = figures.drawn(
    heatmaps.draw, values, ['a'], 'expert', 'x', tmp_path / 'maps.png'
  )
  (image,) = figure.axes[0].images
  assert image.norm(image.get_array()).tolist() == [[0, 1]]


def test_cosines_reach_below_zero(tmp_path):
  figure = figures.drawn(
    heatmaps.draw,
    {'x': np.array([[-1.0, 1.0]])},
    ['a'],
    'expert',
    'cosine',
    tmp_path / 'maps.png',
    heatmaps.COSINES,
  )
  assert bar_of(figure) == [
    '-1 (opposite)',
    '0 (nothing in common)',
    '1 (the same)',
  ]


def test_the_file_is_a_picture(tmp_path):
  png = tmp_path / 'maps.png'
  heatmaps.draw({'x': np.ones((1, 2))}, ['$a'], 'expert', 'share', png)
  assert png.read_bytes().startswith(b'\x89PNG')
