"""Heat maps in a file."""

import numpy as np
import pytest

from moe_lite.inference import heatmaps


@pytest.mark.parametrize('panels', [1, 3, 5])
def test_panels_of_any_number_are_drawn(tmp_path, panels):
  png = tmp_path / 'maps.png'
  values = {f'panel {i}': np.full((2, 3), float(i)) for i in range(panels)}
  # Values above the scale stretch it.
  heatmaps.draw(values, ['a', 'b'], 'expert', 'probability', png)
  assert png.read_bytes().startswith(b'\x89PNG')


def test_another_scale_may_reach_below_zero(tmp_path):
  png = tmp_path / 'maps.png'
  values = {'x': np.array([[-1.0, 1.0]])}
  scale = (-1.0, 0.0, 1.0)
  heatmaps.draw(values, ['a'], 'expert', 'cosine', png, scale=scale)
  assert png.read_bytes().startswith(b'\x89PNG')
