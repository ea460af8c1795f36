"""Pictures of evaluations, as PNG files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.core import pictures
from moe_lite.core.pictures import plain_text
from moe_lite.evaluation.comparison import ComparedDataset, Comparison

_ROW, _HEADING = 0.24, 0.3  # Inches.
_ACCURACY = 'accuracy'


@plain_text
def prompt_boxes(comparison: Comparison, png: epath.PathLike) -> None:
  """Draws the prompts of every data set, with a row for each run.

  Every prompt is a dot. The box of a row spans the quartiles of its prompts,
  and the line in it is their median, whose value stands at the right. Dots of
  equal prompts lie on one another. A dashed line shows chance.

  Args:
    comparison: the runs, and the values of their prompts.
    png: the file to write.
  """
  from matplotlib.figure import Figure

  runs, datasets = comparison.runs, comparison.datasets
  height = len(datasets) * (_HEADING + _ROW * len(runs))
  figure = Figure(figsize=(7.5, 1 + height), layout='constrained')
  axes = figure.subplots()
  ticks: list[float] = []
  y = 0.0
  for dataset in datasets:
    axes.annotate(
      _heading(dataset),
      (0, y + _HEADING / 2),
      xycoords=('axes fraction', 'data'),
      xytext=(4, 0),
      textcoords='offset points',
      va='center',
      fontsize=9,
      fontweight='bold',
    )
    rows = [y + _HEADING + _ROW * (i + 0.5) for i in range(len(runs))]
    end = y + _HEADING + _ROW * len(runs)
    for i, (row, values) in enumerate(zip(rows, dataset.values, strict=True)):
      _draw_row(axes, row, values, i)
    if dataset.chance is not None:
      axes.vlines(
        dataset.chance, y + _HEADING, end, pictures.GREY, 'dashed', zorder=0
      )
    if y:
      axes.axhline(y, color='0.8', linewidth=0.8)
    ticks += rows
    y = end
  axes.set_yticks(ticks, [run.name for run in runs] * len(datasets))
  axes.tick_params(axis='y', length=0)
  axes.set_ylim(y, 0)
  metrics = sorted({dataset.metric for dataset in datasets})
  axes.set_xlabel(
    f'{", ".join(map(_with_unit, metrics))}: a dot for each prompt, '
    'a box over their quartiles, the median at the right'
  )
  if metrics == [_ACCURACY]:
    axes.set_xlim(0, 100)
  axes.grid(axis='x', alpha=0.3)
  pictures.save(figure, png)


def _heading(dataset: ComparedDataset) -> str:
  metric = '' if dataset.metric == _ACCURACY else f', {dataset.metric}'
  prompts = f'{dataset.prompts} prompt{"s" if dataset.prompts > 1 else ""}'
  chance = '' if dataset.chance is None else f', chance {dataset.chance:.1f}'
  return f'{dataset.dataset}{metric} ({prompts}{chance})'


def _with_unit(metric: str) -> str:
  return f'{metric}, %' if metric == _ACCURACY else metric


def _draw_row(axes: Any, y: float, values: Sequence[float], run: int) -> None:
  """Draws the prompts of one run on one data set, and writes their median."""
  colour = pictures.COLOURS[run % len(pictures.COLOURS)]
  line = {'color': colour, 'linewidth': 1}
  axes.boxplot(
    [values],
    positions=[y],
    widths=0.7 * _ROW,
    orientation='horizontal',
    manage_ticks=False,
    showfliers=False,
    whis=(0, 100),
    showcaps=False,
    medianprops={'color': colour, 'linewidth': 2.5},
    boxprops=line,
    whiskerprops=line,
  )
  axes.plot(
    values,
    [y] * len(values),
    linestyle='none',
    marker=pictures.MARKERS[run % len(pictures.MARKERS)],
    color=colour,
    markersize=5,
    alpha=0.5,
    clip_on=False,
  )
  text = f'{np.median(values):.1f}'
  pictures.at_the_right(axes, y, text, 10, color=colour)
