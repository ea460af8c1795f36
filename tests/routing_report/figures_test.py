"""Lines over layers, and trees of data sets, as they are drawn."""

import numpy as np
import pytest

from moe_lite.routing_report import figures as routing_figures
from moe_lite.routing_report import numbers
from moe_lite.routing_report.figures import Line
from tests import figures
from tests.routing_report.numbers_test import KEY, routing

KINDS = ('training', 'held out', 'training, mean', 'held out, mean')


def rows(layers, value=0.5):
  return [
    {'router': KEY.format(i), 'layer': i, 'held_out': is_held_out, 'x': value}
    for i in layers
    for is_held_out in (False, True)
  ]


def by_depth(path, table, lines, **options):
  return figures.drawn(
    routing_figures.by_depth, table, lines, 'share', path, **options
  )


def test_a_line_shows_the_means_of_the_rows_that_it_includes(tmp_path):
  table = rows([0, 1])
  table[0]['x'] = 0.1
  lines = [
    Line('all', 'x', 'noise'),
    Line('held out', 'x', 'held out', lambda row: bool(row['held_out'])),
    Line('nothing', 'x', 'training', lambda row: False),
  ]
  figure = by_depth(tmp_path / 'lines.png', table, lines)
  (axes,) = figure.axes
  drawn = [(list(x.get_xdata()), list(x.get_ydata())) for x in axes.lines]
  assert drawn == [
    ([0, 1], [pytest.approx(0.3), 0.5]),
    ([0, 1], [0.5, 0.5]),
  ]
  assert axes.get_ylim() == (0, 1)
  (legend,) = figure.legends
  assert [x.get_text() for x in legend.get_texts()] == ['all', 'held out']


def test_lines_that_coincide_are_all_seen(tmp_path):
  """What is drawn later is thinner, or hollow, than all below it."""
  lines = [Line(name, 'x', name) for name in KINDS]
  figure = by_depth(tmp_path / 'lines.png', rows([0, 1]), lines)
  (axes,) = figure.axes
  broad = [x for x in axes.lines if x.get_linewidth() >= 5]
  thin = [x for x in axes.lines if 0 < x.get_linewidth() < 2]
  assert len(broad) == len(thin) == 2
  assert all(x.get_alpha() < 0.5 for x in broad)
  assert all(x.get_markerfacecolor() == 'none' for x in thin)
  assert len({x.get_linestyle() for x in thin}) == 2


@pytest.mark.parametrize('layers', [1, 2, 30])
def test_every_place_has_a_panel_whose_labels_do_not_collide(tmp_path, layers):
  table = rows(range(layers))
  for site in ('encoder_decoder_attention/key', 'mlp/intermediate'):
    table += [
      {**row, 'router': f'decoder/layers_{row["layer"]}/{site}'}
      for row in rows(range(layers))
    ]
  lines = [Line(f'{name} data sets', 'x', name) for name in KINDS]
  figure = by_depth(tmp_path / 'lines.png', table, lines, title='a run')
  assert len(figure.axes) == 3
  assert not figures.collisions(figure)


def test_divergences_reach_from_almost_nothing_to_one_bit(tmp_path):
  lines = [Line('held out', 'x', 'held out')]
  figure = by_depth(
    tmp_path / 'lines.png', rows([0, 1], 0.0), lines, is_divergence=True
  )
  (axes,) = figure.axes
  assert axes.get_yscale() == 'log' and axes.get_ylim() == (1e-5, 1)
  assert set(axes.lines[0].get_ydata()) == {1e-5}
  assert '0.001' in figures.words(figure)
  assert not figures.collisions(figure)


@pytest.mark.parametrize('other', [(0.2, 0.8), (0.9, 0.1)])
@pytest.mark.parametrize('noise', [0.002, 0.0, None])
def test_the_bar_tells_the_most_and_what_noise_is(tmp_path, other, noise):
  found = routing(a=(0.9, 0.1), b=other)
  halves = {} if noise is None else {x: {KEY.format(0): noise} for x in 'ab'}
  names, divergences, tree = numbers.similarities(found, halves)
  figure = figures.drawn(
    routing_figures.clusters,
    [f'{x}_data_set' for x in names],
    divergences,
    np.asarray(tree),
    tmp_path / 'tree.png',
  )
  said = figures.words(figure)
  assert '1 (no expert in common' in said
  assert ('noise: mean' in said) == (noise is not None)
  if noise:
    assert '0.00200 (noise' in said
  (image,) = figure.axes[1].images
  assert image.norm.vmax == 1
  assert not figures.collisions(figure)
