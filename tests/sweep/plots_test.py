"""The picture of a sweep: a row for each variant, and nothing shifted."""

import pytest

from moe_lite.core import pictures
from moe_lite.sweep.plots import intervals
from tests import figures
from tests.sweep.swept import row

BASE = row('frozen base', 0, [60.0])


def draw(rows, path):
  return figures.drawn(intervals, rows, path, 'methods')


def means(axes):
  """From the mean of each variant that trains to its row."""
  return {
    x.get_xdata()[0]: x.get_ydata()[0]
    for x in axes.lines
    if x.get_marker() == 'D'
  }


def test_variants_of_equal_parameters_have_rows_of_their_own(tmp_path):
  rows = [BASE, row('b', 11, [80.0, 82.0]), row('a', 10, [70.0, 74.0])]
  rows += [row('c', 500, [90.0, 91.0])]
  figure = draw(rows, tmp_path / 'x.png')
  (axes,) = figure.axes
  # In the order of their parameters, at the values that they have.
  assert means(axes) == {72.0: 0, 81.0: 1, 90.5: 2}
  labels = [x.get_text() for x in axes.get_yticklabels()]
  assert [x.split('\n')[0] for x in labels] == ['a', 'b', 'c']
  assert labels[2].endswith('500 trained (50 % of base)')
  (band,) = axes.patches
  assert band.get_y() < 0 and 1 < band.get_y() + band.get_height() < 2
  assert 'about equally many' in axes.get_xlabel()
  assert not figures.collisions(figure)


def test_no_variant_has_the_colour_of_the_frozen_base(tmp_path):
  rows = [BASE, *(row(f'v{i}', 2**i, [70.0, 71.0]) for i in range(12))]
  (axes,) = draw(rows, tmp_path / 'x.png').axes
  grey = [x for x in axes.lines if x.get_color() == pictures.GREY]
  assert sorted(x.get_xdata()[0] for x in grey) == [50.0, 60.0]
  assert 'frozen base\n60.0' in figures.words(axes.figure)
  assert 'chance\n50.0' in figures.words(axes.figure)


@pytest.mark.parametrize(
  'values,wanted,said',
  [
    ([70.0], 1, '70.0, n = 1'),
    ([70.0], 5, '70.0, n = 1 of 5'),
    ([70.0, 72.0, 74.0], 3, '72.0 ± 5.0, n = 3'),
  ],
)
def test_the_number_of_seeds_is_told(values, wanted, said, tmp_path):
  figure = draw([row('a', 10, values, wanted=wanted)], tmp_path / 'x.png')
  (axes,) = figure.axes
  assert said in figures.words(figure).split('\n')
  (dots,) = [x for x in axes.lines if x.get_marker() == 'o']
  assert list(dots.get_xdata()) == values
  (mean,) = [x for x in axes.lines if x.get_marker() == 'D']
  assert (mean.get_markerfacecolor() == 'white') == (len(values) == 1)
  # An interval has two caps.
  caps = [x for x in axes.lines if x.get_marker() == '|']
  assert len(caps) == (0 if len(values) == 1 else 2)


def test_without_an_evaluation_the_picture_says_so(tmp_path):
  figure = draw([row('none', 10, [1.0], average=None)], tmp_path / 'x.png')
  assert 'no run is evaluated yet' in figures.words(figure)


def test_the_file_is_a_picture(tmp_path):
  intervals([BASE, row('a', 10, [70.0])], tmp_path / 'x.png')
  assert (tmp_path / 'x.png').read_bytes()[:4] == b'\x89PNG'
