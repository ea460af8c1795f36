"""Figures as they are drawn: their texts, and which of them collide."""

import itertools
from unittest import mock

from matplotlib.figure import Figure


def drawn(draw, *args, **kwargs):
  """The figure that a function saves, laid out as it is on paper."""
  with mock.patch.object(Figure, 'savefig', autospec=True) as saved:
    draw(*args, **kwargs)
  figure = saved.call_args.args[0]
  figure.draw_without_rendering()
  return figure


def _on(axes):
  yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
  for axis, limits in (
    (axes.xaxis, axes.get_xlim()),
    (axes.yaxis, axes.get_ylim()),
  ):
    low, high = sorted(limits)
    for tick in axis.get_major_ticks():
      if low <= tick.get_loc() <= high:
        yield from (tick.label1, tick.label2)


def texts(figure):
  """Every text that is seen."""
  found = [*figure.texts]  # The title is among them.
  for axes in figure.axes:
    if axes.get_visible():
      found += _on(axes) if axes.axison else []
  for owner in (figure, *figure.axes):
    legends = owner.legends if owner is figure else [owner.get_legend()]
    for legend in legends:
      found += legend.get_texts() if legend else []
  return [x for x in found if x.get_visible() and x.get_text()]


def words(figure):
  """All texts as one string, for tests of what a figure says."""
  return '\n'.join(x.get_text() for x in texts(figure))


def collisions(figure):
  """The texts that overlap another one, or reach over the edge."""
  boxes = [(x.get_text(), x.get_window_extent()) for x in texts(figure)]
  found = [
    (a, b)
    for (a, box), (b, other) in itertools.combinations(boxes, 2)
    if box.padded(-1).overlaps(other.padded(-1))
  ]
  whole = figure.bbox.padded(2)
  found += [
    (a, 'the edge')
    for a, box in boxes
    if not all(whole.contains(*corner) for corner in box.corners())
  ]
  return found
