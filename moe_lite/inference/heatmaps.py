"""Heat maps, one beside the other, as a figure or a PNG file."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

from moe_lite.core.pictures import plain_text

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def draw(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  png: epath.PathLike,
  scale: tuple[float, float, float] = (0.0, 1.0, 2.0),
) -> None:
  """Writes what `figure` draws; see there for the other arguments.

  Args:
    panels: see there.
    rows: see there.
    columns: see there.
    label: see there.
    png: the file to write.
    scale: see there.
  """
  made = figure(panels, rows, columns, label, scale)
  with epath.Path(png).open('wb') as file:
    made.savefig(file, format='png', dpi=120)


@plain_text
def figure(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  scale: tuple[float, float, float] = (0.0, 1.0, 2.0),
) -> 'Figure':
  """Draws one heat map for each panel, all on one scale.

  Args:
    panels: the title of each map to its values, [rows, columns].
    rows: the names of the rows, from top to bottom.
    columns: what a column is, such as 'expert'.
    label: what the values are.
    scale: the least value, the value that is white, and the greatest value. The
      scale reaches further up where a map has a greater value.
  """
  from matplotlib.colors import TwoSlopeNorm
  from matplotlib.figure import Figure

  across = min(4, len(panels))
  down = math.ceil(len(panels) / across)
  size = (2.2 + 2.4 * across, down * (1.1 + 0.18 * len(rows)))
  made = Figure(figsize=size, layout='constrained')
  grid = made.subplots(down, across, squeeze=False, sharey=True)
  least, white, most = scale
  # The colours of each side of white are stretched by themselves, because
  # values may reach far above it.
  most = max(most, *(float(values.max()) for values in panels.values()))
  norm = TwoSlopeNorm(white, vmin=least, vmax=most)
  images = []
  for axes in grid.flat[len(panels) :]:
    axes.set_axis_off()
  for axes, (title, values) in zip(grid.flat, panels.items(), strict=False):
    images.append(axes.imshow(values, cmap='RdBu_r', norm=norm, aspect='auto'))
    axes.set_title(title, fontsize=7)
    axes.set_xlabel(columns, fontsize=7)
    count = values.shape[1]
    axes.set_xticks(range(0, count, math.ceil(count / 10)))
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(labelsize=6)
  made.colorbar(images[-1], ax=grid, label=label, shrink=0.6)
  return made
