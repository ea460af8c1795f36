"""The pictures that no other report draws: lines over layers, and a tree."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from scipy.cluster import hierarchy

from moe_lite.core import pictures
from moe_lite.core.pictures import plain_text
from moe_lite.routing_report.places import by_place
from moe_lite.routing_report.rows import Row

_LAYER = 'layer'
# Divergences in bits are drawn on logarithmic scales: most are far below the
# greatest that there can be, which is 1.
_MOST_BITS = 1.0
_LEAST_BITS = 1e-5


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a picture.

  Attributes:
    label: what the legend calls it.
    column: the column of the rows that it shows.
    style: how it is drawn: one of `STYLES`.
    includes: whether it shows a row; it shows all of them by default.
  """

  label: str
  column: str
  style: str
  includes: Callable[[Row], bool] = lambda row: True


# What is trained on has broad pale lines and small filled signs, what is held
# out has thin lines and large hollow signs. So both are seen where they meet.
_BELOW: Mapping[str, Any] = {'linewidth': 5, 'alpha': 0.35, 'markersize': 0}
_ABOVE: Mapping[str, Any] = {
  'linewidth': 1.2,
  'markersize': 9,
  'markerfacecolor': 'none',
}
_SMALL: Mapping[str, Any] = {'linewidth': 0, 'markersize': 4}
STYLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
  'training': [
    {**_BELOW, 'color': pictures.BLUE},
    {**_SMALL, 'color': pictures.BLUE, 'marker': 'o'},
  ],
  'held out': [{**_ABOVE, 'color': pictures.VERMILION, 'marker': 'o'}],
  'training, mean': [
    {**_BELOW, 'color': pictures.GREEN},
    {**_SMALL, 'color': pictures.GREEN, 'marker': 's'},
  ],
  'held out, mean': [
    {**_ABOVE, 'color': 'black', 'marker': 's', 'linestyle': '--'}
  ],
  'noise': [{'color': pictures.GREY, 'linestyle': ':', 'linewidth': 2}],
}


@plain_text
def by_depth(
  rows: Sequence[Row],
  lines: Sequence[Line],
  label: str,
  png: epath.PathLike,
  title: str = '',
  is_divergence: bool = False,
) -> None:
  """Draws lines over layers, with a panel for every place.

  Args:
    rows: rows with `router` and `layer`; those of one layer are averaged.
    lines: the lines of each panel.
    label: what the vertical axis shows. It reaches from 0 to 1.
    png: the file to write.
    title: what stands above all panels.
    is_divergence: whether the axis shows divergences in bits, and is
      logarithmic.
  """
  from matplotlib import ticker
  from matplotlib.figure import Figure

  places = by_place({str(row['router']) for row in rows})
  across = min(4, len(places))
  down = -(-len(places) // across)
  figure = Figure(figsize=(max(6.0, 1 + 2.4 * across), 1.4 + 2.3 * down))
  figure.set_layout_engine('constrained')
  figure.suptitle(title, fontsize=10)
  grid = figure.subplots(down, across, squeeze=False, sharey=True)
  for axes in grid.flat[len(places) :]:
    axes.set_axis_off()
  shown: dict[str, Any] = {}
  for axes, (place, routers) in zip(grid.flat, places.items(), strict=False):
    here = [row for row in rows if row['router'] in routers]
    layers = sorted({int(x[_LAYER]) for x in here})
    for line in lines:
      if (means := _means(here, layers, line)) is not None:
        # Divergences of 0 have no place on a logarithmic axis.
        if is_divergence:
          means = np.maximum(means, _LEAST_BITS)
        shown[line.label] = _draw(axes, layers, means, line.style)
    axes.set_title(f'{place.stack}\n{place.site}', fontsize=8)
    axes.set_xlabel(_LAYER, fontsize=8)
    axes.set_xticks(layers[:: -(-len(layers) // 6)])
    axes.margins(x=0.15)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if is_divergence:
      axes.set_yscale('log')
      axes.set_ylim(_LEAST_BITS, _MOST_BITS)
      axes.yaxis.set_major_formatter(
        ticker.FuncFormatter(lambda x, _: _number(x))
      )
    else:
      axes.set_ylim(0, 1)
  figure.supylabel(label, fontsize=9)
  figure.legend(
    list(shown.values()),
    list(shown),
    loc='outside lower center',
    ncols=len(shown) if len(shown) < 4 else 2,
    fontsize=8,
  )
  pictures.save(figure, png)


def _means(
  rows: Sequence[Row], layers: Sequence[int], line: Line
) -> np.ndarray | None:
  """The mean of each layer; None if a layer has no row of the line."""
  values = [
    [
      float(x[line.column])
      for x in rows
      if x[_LAYER] == layer and line.includes(x)
    ]
    for layer in layers
  ]
  if not all(values):
    return None
  means = np.array([np.mean(x) for x in values])
  return None if np.isnan(means).all() else means


def _draw(
  axes: Any, layers: Sequence[int], means: np.ndarray, style: str
) -> Any:
  """Draws a line; returns what stands for it in the legend."""
  parts = [
    # Signs at the limits of an axis are not to be cut in half.
    axes.plot(layers, means, clip_on=False, **options)[0]
    for options in STYLES[style]
  ]
  return tuple(parts)


@plain_text
def clusters(
  names: Sequence[str],
  divergences: np.ndarray,
  tree: np.ndarray,
  png: epath.PathLike,
  title: str = '',
) -> None:
  """Draws a tree of data sets beside their divergences.

  Args:
    names: the data sets, as the picture calls them.
    divergences: see `numbers.similarities`. The diagonal holds noise: the
      divergence of two halves of the examples of a data set.
    tree: see `numbers.similarities`.
    png: the file to write.
    title: what stands above the picture.
  """
  from matplotlib.colors import LogNorm
  from matplotlib.figure import Figure

  size = 3.2 + 0.22 * len(names)
  figure = Figure(figsize=(size + 3.5, size), layout='constrained')
  figure.suptitle(title, fontsize=10)
  left, right = figure.subplots(1, 2, width_ratios=(1, 3))
  known = [x for x in np.diag(divergences) if np.isfinite(x)]
  noise = float(np.mean(known)) if known else np.nan
  if tree[:, 2].any():  # Otherwise the tree has no extent.
    hierarchy.dendrogram(
      tree,
      ax=left,
      orientation='left',
      no_labels=True,
      color_threshold=0,
      above_threshold_color='black',
    )
  # The first leaf of the tree must be on top, like the first row of the matrix.
  left.invert_yaxis()
  if known:
    left.axvline(noise, color=pictures.GREY, linestyle=':', linewidth=2)
  left.set_title('clusters\n(dotted: noise)', fontsize=8)
  left.set_xlabel('divergence, bits', fontsize=8)
  left.tick_params(labelsize=7)
  left.locator_params(axis='x', nbins=3)
  image = right.imshow(
    np.maximum(divergences, _LEAST_BITS),
    cmap=pictures.MAP,
    norm=LogNorm(_LEAST_BITS, _MOST_BITS),
    aspect='auto',
  )
  right.set_title(
    'divergence of two data sets;\non the diagonal, of two halves of one',
    fontsize=8,
  )
  right.set_yticks(range(len(names)), names)
  right.set_xticks(range(len(names)), names, rotation=90)
  right.tick_params(labelsize=7)
  bar = figure.colorbar(image, ax=right, label='divergence, bits', aspect=30)
  _mark_bits(bar, noise)
  pictures.save(figure, png)


def _number(x: float) -> str:
  """Writes a small number without an exponent."""
  return f'{x:.5f}'.rstrip('0').rstrip('.')


def _mark_bits(bar: Any, noise: float) -> None:
  """Writes beside a bar how far divergences can reach, and what noise is."""
  words = {x: _number(x) for x in (1e-4, 1e-3, 1e-2, 0.1)}
  words[_LEAST_BITS] = f'{_number(_LEAST_BITS)} or less'
  words[_MOST_BITS] = '1 (no expert in common,\nthe most there can be)'
  if np.isfinite(noise):
    # A label of the scale that is close to that of noise gives way to it.
    at = max(noise, _LEAST_BITS)
    words = {x: y for x, y in words.items() if abs(np.log10(x / at)) > 0.6}
    words[at] = f'{noise:.5f} (noise: mean\nof the diagonal)'
  bar.set_ticks(sorted(words), labels=[words[x] for x in sorted(words)])
  bar.ax.minorticks_off()
  bar.ax.tick_params(labelsize=8)
