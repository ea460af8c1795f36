"""The pictures of the report that no other report draws."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from scipy.cluster import hierarchy

from moe_lite.routing_report import numbers

_LAYER = 'layer'


def by_depth(
  rows: Sequence[numbers.Row],
  lines: Mapping[str, tuple[str, Callable[[numbers.Row], bool], str]],
  label: str,
  png: epath.PathLike,
) -> None:
  """Draws lines over layers, a panel for every place.

  Args:
    rows: with `router` and `layer`; those of one layer are averaged.
    lines: label to a column, which rows it is of, and matplotlib's format.
    label: of the vertical axis.
    png: to write.
  """
  from matplotlib.figure import Figure

  places = numbers.by_place({str(row['router']) for row in rows})
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
    for name, (column, fits, form) in lines.items():
      values = [
        [float(x[column]) for x in here if x[_LAYER] == layer and fits(x)]
        for layer in layers
      ]
      if all(values):
        axes.plot(layers, [np.mean(x) for x in values], form, label=name, ms=4)
    axes.set_title(f'{place.stack}\n{place.site}', fontsize=8)
    axes.set_xticks(layers[:: -(-len(layers) // 12)])
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
  figure.supxlabel(_LAYER, fontsize=8)
  figure.supylabel(label, fontsize=8)
  handles, labels = grid.flat[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper left', ncols=4, fontsize=8)
  _save(figure, png)


def clusters(
  names: Sequence[str],
  divergences: np.ndarray,
  tree: np.ndarray,
  png: epath.PathLike,
) -> None:
  """Draws a tree of data sets beside their divergences.

  Args: as `numbers.similarities` gives them; `names`, labelled.
  """
  from matplotlib.figure import Figure

  size = 2.5 + 0.22 * len(names)
  figure = Figure(figsize=(size + 2.5, size), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(1, 3))
  if divergences.any():  # Else the tree has no extent.
    hierarchy.dendrogram(
      tree,
      ax=left,
      orientation='left',
      no_labels=True,
      color_threshold=0,
      above_threshold_color='grey',
    )
  # The picture's first row is on top, as is that of the matrix.
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
