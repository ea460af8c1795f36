"""Plots of a run, as PNG files."""

import collections
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

# What a curve shows, and how its axis is called.
PANELS = (
  ('loss', 'loss (nats a token)'),
  ('accuracy', 'accuracy of next token'),
)


def training_curve(metrics_jsonl: epath.PathLike, png: epath.PathLike) -> None:
  """Draws loss and accuracy over steps.

  Args:
    metrics_jsonl: of a run.
    png: to write.
  """
  # Imported here: it takes a second, and evaluation imports this module too.
  from matplotlib.figure import Figure

  text = epath.Path(metrics_jsonl).read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  figure = Figure(figsize=(9, 3.5), layout='constrained')
  for axes, (name, label) in zip(
    figure.subplots(1, len(PANELS)), PANELS, strict=True
  ):
    points = [(row['step'], row[name]) for row in rows if name in row]
    marker = 'o' if len(points) == 1 else None
    axes.plot(*zip(*points, strict=True), color='tab:blue', marker=marker)
    axes.set_xlabel('step')
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)


def heatmaps(
  panels: Mapping[str, np.ndarray],
  rows: Sequence[str],
  columns: str,
  label: str,
  png: epath.PathLike,
  scale: tuple[float, float, float] = (0.0, 1.0, 2.0),
) -> None:
  """Draws one heat map a panel, all on one scale.

  Args:
    panels: title to values [rows, columns].
    rows: their names, from top to bottom.
    columns: what the columns are.
    label: what the values are.
    png: to write.
    scale: the least value, that which is white, and the most, unless there are
      larger ones.
  """
  from matplotlib.colors import TwoSlopeNorm
  from matplotlib.figure import Figure

  across = min(4, len(panels))
  down = math.ceil(len(panels) / across)
  size = (2.2 + 2.4 * across, down * (1.1 + 0.18 * len(rows)))
  figure = Figure(figsize=size, layout='constrained')
  grid = figure.subplots(down, across, squeeze=False, sharey=True)
  least, white, most = scale
  # Each side is stretched by itself, as values may reach far above white.
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
  figure.colorbar(images[-1], ax=grid, label=label, shrink=0.6)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)


def prompt_boxes(comparison: Mapping[str, Any], png: epath.PathLike) -> None:
  """Draws, for each data set, a box over its prompts for each run.

  A box spans the quartiles, its line is the median, its whiskers reach the
  extremes, and every prompt is a dot; a dashed line is chance.

  Args:
    comparison: as `comparison.compare` gives it.
    png: to write.
  """
  from matplotlib.figure import Figure

  runs = [run['name'] for run in comparison['runs']]
  datasets = comparison['datasets']
  width = 0.8 / len(runs)
  size = (2.5 + len(datasets) * max(0.9, 0.4 * len(runs)), 4.5)
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  for i, run in enumerate(runs):
    colour = f'C{i}'
    places = [
      x + width * (i - (len(runs) - 1) / 2) for x in range(len(datasets))
    ]
    values = [dataset['values'][i] for dataset in datasets]
    axes.boxplot(
      values,
      positions=places,
      widths=0.8 * width,
      whis=(0, 100),
      showfliers=False,
      medianprops={'color': colour, 'linewidth': 2},
      boxprops={'color': colour},
      whiskerprops={'color': colour},
      capprops={'color': colour},
    )
    for place, prompts in zip(places, values, strict=True):
      axes.plot([place] * len(prompts), prompts, '.', color=colour, alpha=0.5)
    axes.plot([], [], color=colour, label=run)
  for x, dataset in enumerate(datasets):
    if dataset['chance'] is not None:
      axes.hlines(dataset['chance'], x - 0.45, x + 0.45, 'grey', 'dashed')
  axes.plot([], [], color='grey', linestyle='dashed', label='chance')
  metrics = {dataset['metric'] for dataset in datasets}
  axes.set_ylabel(f'{", ".join(sorted(metrics))} of a prompt')
  axes.set_xticks(
    range(len(datasets)),
    [dataset['dataset'] for dataset in datasets],
    rotation=45,
    ha='right',
  )
  axes.grid(axis='y', alpha=0.3)
  figure.legend(loc='outside upper left', ncols=4)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)


def intervals(rows: Sequence[Mapping[str, Any]], png: epath.PathLike) -> None:
  """Draws accuracies with intervals over trained parameters.

  Args:
    rows: variants as `sweeps.outcome.collect` gives them; those without an
      average are left out, and the frozen base is a line.
    png: to write.
  """
  from matplotlib.figure import Figure

  known = [row for row in rows if row['average']]
  size = (9.0, max(4.5, 1.5 + 0.25 * len(known)))
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  markers = 'osD^vP*X'
  crowded: collections.Counter[int] = collections.Counter()
  for i, row in enumerate(known):
    average, label = row['average'], row['variant']
    if not row['is_trained']:
      axes.axhline(
        average['mean'], color='grey', linestyle='dashed', label=label
      )
      continue
    # Side by side where several train about as many.
    x = row['trainable_parameters']
    place = round(10 * math.log10(x))
    axes.errorbar(
      x * 1.02 ** crowded[place],
      average['mean'],
      yerr=average['half'],
      fmt=markers[i // 10 % len(markers)],
      color=f'C{i % 10}',
      capsize=3,
      label=label,
    )
    crowded[place] += 1
  if any(row['is_trained'] for row in known):
    axes.set_xscale('log')
    base = known[0]['base_parameters']
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
