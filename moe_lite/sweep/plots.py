"""The picture of a sweep, as a PNG file."""

import collections
import math
from collections.abc import Sequence

import numpy as np
from etils import epath

from moe_lite.core.pictures import plain_text
from moe_lite.sweep.rows import Row


@plain_text
def intervals(rows: Sequence[Row], png: epath.PathLike) -> None:
  """Draws accuracies with their intervals over trained parameters.

  Args:
    rows: the variants. Those without an average are left out, and the frozen
      base is a line.
    png: the file to write.
  """
  from matplotlib.figure import Figure

  known = [(row, row.average) for row in rows if row.average]
  size = (9.0, max(4.5, 1.5 + 0.25 * len(known)))
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  markers = 'osD^vP*X'
  crowded: collections.Counter[int] = collections.Counter()
  for i, (row, average) in enumerate(known):
    if not row.is_trained:
      axes.axhline(
        average.mean, color='grey', linestyle='dashed', label=row.variant
      )
      continue
    # Variants that train about as many stand side by side.
    x = row.trainable_parameters
    place = round(10 * math.log10(x))
    axes.errorbar(
      x * 1.02 ** crowded[place],
      average.mean,
      yerr=average.half,
      fmt=markers[i // 10 % len(markers)],
      color=f'C{i % 10}',
      capsize=3,
      label=row.variant,
    )
    crowded[place] += 1
  if any(row.is_trained for row, _ in known):
    axes.set_xscale('log')
    base = known[0][0].base_parameters
    to_percent = lambda n: np.asarray(n) * (100 / base)
    from_percent = lambda p: np.asarray(p) * (base / 100)
    share = axes.secondary_xaxis('top', functions=(to_percent, from_percent))
    share.set_xlabel('% of the base')
  axes.set_xlabel('trained parameters')
  axes.set_ylabel('average accuracy (%), mean over seeds')
  axes.grid(alpha=0.3)
  if known:
    figure.legend(loc='outside right upper', fontsize=8)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)
