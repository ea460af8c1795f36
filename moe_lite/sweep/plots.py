"""The picture of a sweep, as a PNG file."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core import pictures
from moe_lite.core.pictures import plain_text
from moe_lite.sweep.rows import Row, equal_parameters

_ROW = 0.36  # Inches.


@plain_text
def intervals(
  rows: Sequence[Row], png: epath.PathLike, title: str = ''
) -> None:
  """Draws accuracies with their intervals, one variant a row.

  Variants stand in the order of their trained parameters. Those that train
  about as many stand on one grey band. A small dot is a single seed; a variant
  of one seed has a hollow sign and no interval.

  Args:
    rows: the variants. Those without an average are left out, and the frozen
      base is a line.
    png: the file to write.
    title: what stands above the picture.
  """
  from matplotlib.figure import Figure

  trained = [row for row in rows if row.is_trained and row.average]
  trained.sort(key=lambda row: row.trainable_parameters)
  figure = Figure(
    figsize=(9, 1.8 + _ROW * max(2, len(trained))), layout='constrained'
  )
  axes = figure.subplots()
  figure.suptitle(title)
  for y, row in enumerate(trained):
    _draw_row(axes, y, row)
  has_groups = _draw_groups(axes, trained)
  _draw_references(axes, rows)
  axes.set_yticks(range(len(trained)), [_label(row) for row in trained])
  axes.set_ylim(max(1, len(trained)) - 0.5, -0.5)
  axes.tick_params(axis='y', length=0)
  groups = (
    '\nOn a grey band, all train about equally many parameters.'
    if has_groups
    else ''
  )
  axes.set_xlabel(
    'average accuracy, %: mean of n seeds with its 95 % interval, '
    f'and a dot for each seed.{groups}'
  )
  if not any(row.average for row in rows):
    axes.set_xlim(0, 100)
    axes.set_xlabel('average accuracy, %: no run is evaluated yet')
  axes.grid(axis='x', alpha=0.3)
  pictures.save(figure, png)


def _label(row: Row) -> str:
  count = row.trainable_parameters
  return f'{row.variant}\n{count:,} trained ({row.share:.3g} % of base)'


def _draw_row(axes: Any, y: int, row: Row) -> None:
  average = row.average
  assert average  # The rows that are drawn have one.
  count = len(average.values)
  axes.plot(
    average.values,
    [y] * count,
    linestyle='none',
    marker='o',
    color=pictures.BLUE,
    markerfacecolor='white',
    markersize=4,
    zorder=3,
  )
  axes.errorbar(
    average.mean,
    y,
    xerr=average.half,
    fmt='D',
    color=pictures.BLUE,
    markerfacecolor=pictures.BLUE if count > 1 else 'white',
    markersize=6,
    capsize=4,
    zorder=4,
  )
  half = '' if average.half is None else f' ± {average.half:.1f}'
  of = '' if count == row.wanted else f' of {row.wanted}'
  text = f'{average.mean:.1f}{half}, n = {count}{of}'
  pictures.at_the_right(axes, y, text, 6, fontsize=9)


def _draw_groups(axes: Any, trained: Sequence[Row]) -> bool:
  """Puts variants that train about as many parameters on one band.

  Returns:
    Whether there is a band. There is none where it would hold all variants.
  """
  places = {row.variant: y for y, row in enumerate(trained)}
  groups = [x for x in equal_parameters(trained) if len(x) < len(trained)]
  for group in groups:
    ys = [places[row.variant] for row in group]
    axes.axhspan(
      min(ys) - 0.45, max(ys) + 0.45, color='0.93', linewidth=0, zorder=0
    )
  return bool(groups)


def _draw_references(axes: Any, rows: Sequence[Row]) -> None:
  """Draws the frozen base and chance as lines, named at the top."""
  lines = [
    (row.average.mean, f'{row.variant}\n{row.average.mean:.1f}', 'dashed')
    for row in rows
    if row.average and not row.is_trained
  ]
  chances = {row.chance for row in rows if row.average and row.chance}
  lines += [(x, f'chance\n{x:.1f}', 'dotted') for x in sorted(chances)]
  for i, (x, name, style) in enumerate(sorted(lines)):
    axes.axvline(x, color=pictures.GREY, linestyle=style)
    # Neighbours are named on the two sides of their lines.
    side = 'right' if i % 2 == 0 and len(lines) > 1 else 'left'
    axes.annotate(
      name,
      (x, 1),
      xycoords=('data', 'axes fraction'),
      xytext=(-2 if side == 'right' else 2, 2),
      textcoords='offset points',
      ha=side,
      va='bottom',
      fontsize=8,
      color=pictures.GREY,
    )
