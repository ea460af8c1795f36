"""The picture of a sweep."""

import pytest

from moe_lite.sweep.plots import intervals
from tests.sweep.swept import row


@pytest.mark.parametrize('seeds', [1, 3])
def test_the_picture_is_drawn(seeds, tmp_path):
  rows = [
    row('frozen base', 0, [40.0]),
    row('a', 10, [50.0, 51.0, 53.0][:seeds]),
    row('b', 10, [50.0, 51.0, 53.0][:seeds]),
    row('none', 10, [1.0], average=None),
  ]
  intervals(rows, tmp_path / 'x.png')
  assert (tmp_path / 'x.png').read_bytes()[:4] == b'\x89PNG'
