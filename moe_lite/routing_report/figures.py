"""The pictures that no other report draws: lines over layers, and a tree."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from scipy.cluster import hierarchy

from moe_lite.core.pictures import plain_text
from moe_lite.routing_report.places import by_place
from moe_lite.routing_report.rows import Row

_LAYER = 'layer'


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a picture.

  Attributes:
    label: what the legend calls it.
    column: the column of the rows that it shows.
    style: its format, as matplotlib writes it, such as 'or-'.
    includes: whether it shows a row; it shows all of them by default.
  """

  label: str
  column: str
  style: str
  includes: Callable[[Row], bool] = lambda row: True


@plain_text
def by_depth(
  rows: Sequence[Row], lines: Sequence[Line], label: str, png: epath.PathLike
) -> None:
  """Draws lines over layers, with a panel for every place.

  Args:
    rows: rows with `router` and `layer`; those of one layer are averaged.
    lines: the lines of each panel.
    label: what the vertical axis shows.
    png: the file to write.
  """
  from matplotlib.figure import Figure

  places = by_place({str(row['router']) for row in rows})
  across = min(4, len(places))
  down = -(-len(places) // across)
  figure = Figure(figsize=(1 + 2.6 * across, 0.9 + 2.1 * down))
  figure.set_layout_engine('constrained')
  grid = figure.subplots(down, across, squeeze=False, sharey=True)
  for axes in grid.flat[len(places) :]:
    axes.set_axis_off()
  for axes, (place, routers) in zip(grid.flat, places.items(), strict=False):
    here = [row for row in rows if row['router'] in routers]
    layers = sorted({int(x[_LAYER]) for x in here})
    for line in lines:
      values = [
        [
          float(x[line.column])
          for x in here
          if x[_LAYER] == layer and line.includes(x)
        ]
        for layer in layers
      ]
      if all(values):
        means = [np.mean(x) for x in values]
        axes.plot(layers, means, line.style, label=line.label, ms=4)
    axes.set_title(f'{place.stack}\n{place.site}', fontsize=8)
    axes.set_xticks(layers[:: -(-len(layers) // 12)])
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
  figure.supxlabel(_LAYER, fontsize=8)
  figure.supylabel(label, fontsize=8)
  handles, labels = grid.flat[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper left', ncols=4, fontsize=8)
  _save(figure, png)


@plain_text
def clusters(
  names: Sequence[str],
  divergences: np.ndarray,
  tree: np.ndarray,
  png: epath.PathLike,
) -> None:
  """Draws a tree of data sets beside their divergences.

  Args:
    names: the data sets, as the picture calls them.
    divergences: see `numbers.similarities`.
    tree: see `numbers.similarities`.
    png: the file to write.
  """
  from matplotlib.figure import Figure

  size = 2.5 + 0.22 * len(names)
  figure = Figure(figsize=(size + 2.5, size), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(1, 3))
  if divergences.any():  # Otherwise the tree has no extent.
    hierarchy.dendrogram(
      tree,
      ax=left,
      orientation='left',
      no_labels=True,
      color_threshold=0,
      above_threshold_color='grey',
    )
  # The first leaf of the tree must be on top, like the first row of the matrix.
  left.invert_yaxis()
  left.set_xlabel('divergence (bits)', fontsize=8)
  left.tick_params(labelsize=7)
  image = right.imshow(divergences, cmap='viridis_r', aspect='auto')
  right.set_yticks(range(len(names)), names)
  right.set_xticks(range(len(names)), names, rotation=90)
  right.tick_params(labelsize=7)
  figure.colorbar(image, ax=right, label='divergence (bits)', shrink=0.6)
  _save(figure, png)


def _save(figure: Any, png: epath.PathLike) -> None:
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)
