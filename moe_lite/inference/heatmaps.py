"""Heat maps, one beside the other, as a figure or a PNG file."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from moe_lite.core import pictures
from moe_lite.core.pictures import plain_text

if TYPE_CHECKING:
  from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Scale:
  """How the values of maps become colours, from the darkest to the lightest.

  Attributes:
    least: the least value. Values below it have its colour.
    most: the greatest value that there can be.
    words: what values mean; each stands after its value beside the bar.
    is_log: whether colours follow the logarithm of values.
  """

  least: float
  most: float
  words: Mapping[float, str]
  is_log: bool = False


COSINES = Scale(
  -1.0,
  1.0,
  {-1.0: '(opposite)', 0.0: '(nothing in common)', 1.0: '(the same)'},
)


def preferences(experts: int) -> Scale:
  """The scale of probabilities times the number of experts.

  It is the same for every run of as many experts, and has its middle where a
  router has no preference.
  """
  # A single expert leaves nothing to choose, and a scale needs two ends.
  most = float(max(2, experts))
  words = {
    1 / most: 'or less',
    1.0: '(no preference)',
    most: '(always, the most\nthere can be)',
  }
  return Scale(1 / most, most, words, is_log=True)


def draw(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  png: epath.PathLike,
  scale: Scale | None = None,
  title: str = '',
) -> None:
  """Writes what `figure` draws; see there for the other arguments.

  Args:
    panels: see there.
    rows: see there.
    columns: see there.
    label: see there.
    png: the file to write.
    scale: see there.
    title: see there.
  """
  pictures.save(figure(panels, rows, columns, label, scale, title), png)


@plain_text
def figure(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  scale: Scale | None = None,
  title: str = '',
) -> 'Figure':
  """Draws one heat map for each panel, all on one scale.

  Args:
    panels: the title of each map to its values, [rows, columns].
    rows: the names of the rows, from top to bottom.
    columns: what a column is, such as 'expert'.
    label: what the values are.
    scale: the scale of all maps; None takes `preferences` of the columns of the
      widest.
    title: what stands above all of them.
  """
  from matplotlib.colors import LogNorm, Normalize
  from matplotlib.figure import Figure

  across = min(4, len(panels))
  down = math.ceil(len(panels) / across)
  # The bar needs some height, also beside a map of few rows.
  size = (4 + 2.2 * across, max(2.6, 0.5 + down * (0.9 + 0.19 * len(rows))))
  made = Figure(figsize=size, layout='constrained')
  made.suptitle(title)
  grid = made.subplots(down, across, squeeze=False, sharey=True)
  scale = scale or preferences(max(x.shape[1] for x in panels.values()))
  norm = (LogNorm if scale.is_log else Normalize)(scale.least, scale.most)
  images = []
  for axes in grid.flat[len(panels) :]:
    axes.set_axis_off()
  for axes, (name, values) in zip(grid.flat, panels.items(), strict=False):
    images.append(
      axes.imshow(
        np.maximum(values, scale.least),
        cmap=pictures.MAP,
        norm=norm,
        aspect='auto',
      )
    )
    axes.set_title(name, fontsize=8)
    axes.set_xlabel(columns, fontsize=8)
    count = values.shape[1]
    axes.set_xticks(range(0, count, math.ceil(count / 10)))
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(labelsize=7)
  bar = made.colorbar(images[-1], ax=grid, label=label, aspect=30)
  _mark(bar, scale)
  return made


def _mark(bar: Any, scale: Scale) -> None:
  """Writes beside a bar what its values mean."""
  bar.set_ticks(
    list(scale.words),
    labels=[f'{x:.3g} {word}' for x, word in scale.words.items()],
  )
  bar.ax.minorticks_off()
  bar.ax.tick_params(labelsize=8)
