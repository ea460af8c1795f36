"""Lines over layers, and trees of data sets, in files."""

import numpy as np
import pytest

from moe_lite.routing_report import figures, numbers
from moe_lite.routing_report.figures import Line
from tests.routing_report.numbers_test import routing

KEY = 'encoder/layers_{}/attention/key'


def rows(layers):
  return [
    {'router': KEY.format(i), 'layer': i, 'held_out': is_held_out, 'x': 0.5}
    for i in layers
    for is_held_out in (False, True)
  ]


def test_a_line_shows_the_rows_that_it_includes(tmp_path, monkeypatch):
  drawn = {}

  def plot(self, x, y, style, label, **options):
    drawn[label] = list(x), [float(value) for value in y], style

  monkeypatch.setattr('matplotlib.axes.Axes.plot', plot)
  table = rows([0, 1])
  table[0]['x'] = 0.1
  lines = [
    Line('all', 'x', '-ob'),
    Line('held out', 'x', '-or', lambda row: bool(row['held_out'])),
    Line('nothing', 'x', '-og', lambda row: False),
  ]
  figures.by_depth(table, lines, 'share', tmp_path / 'lines.png')
  assert drawn == {
    'all': ([0, 1], [pytest.approx(0.3), 0.5], '-ob'),
    'held out': ([0, 1], [0.5, 0.5], '-or'),
  }


@pytest.mark.parametrize('layers', [1, 30])
def test_every_place_has_a_panel(tmp_path, layers):
  table = rows(range(layers))
  table += [{**row, 'router': f'{row["router"]}s'} for row in table]
  png = tmp_path / 'lines.png'
  figures.by_depth(table, [Line('all', 'x', '-ob')], 'share', png)
  assert png.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('other', [(0.2, 0.8), (0.9, 0.1)])
def test_a_tree_is_drawn_also_where_all_is_alike(tmp_path, other):
  found = routing(a=(0.9, 0.1), b=other)
  names, divergences, tree = numbers.similarities(found)
  assert divergences.any() == (other != (0.9, 0.1))
  png = tmp_path / 'tree.png'
  figures.clusters(names, divergences, np.asarray(tree), png)
  assert png.read_bytes().startswith(b'\x89PNG')
