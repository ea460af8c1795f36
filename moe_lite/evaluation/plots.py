"""Pictures of evaluations, as PNG files."""

from collections.abc import Sequence
from typing import Any

from etils import epath

from moe_lite.core.pictures import plain_text
from moe_lite.evaluation.comparison import Comparison


@plain_text
def prompt_boxes(comparison: Comparison, png: epath.PathLike) -> None:
  """Draws, for each data set, a box over its prompts for each run.

  A box spans the quartiles. Its line is the median, its whiskers reach the
  extremes, and every prompt is a dot. A dashed line shows chance.

  Args:
    comparison: the runs, and the values of their prompts.
    png: the file to write.
  """
  from matplotlib.figure import Figure

  runs, datasets = comparison.runs, comparison.datasets
  width = 0.8 / len(runs)
  size = (2.5 + len(datasets) * max(0.9, 0.4 * len(runs)), 4.5)
  figure = Figure(figsize=size, layout='constrained')
  axes = figure.subplots()
  for i, run in enumerate(runs):
    colour = f'C{i}'
    places = [
      x + width * (i - (len(runs) - 1) / 2) for x in range(len(datasets))
    ]
    values = [dataset.values[i] for dataset in datasets]
    _draw_boxes(axes, places, values, width, colour)
    # An empty line, for the legend.
    axes.plot([], [], color=colour, label=run.name)
  for x, dataset in enumerate(datasets):
    if dataset.chance is not None:
      axes.hlines(dataset.chance, x - 0.45, x + 0.45, 'grey', 'dashed')
  axes.plot([], [], color='grey', linestyle='dashed', label='chance')
  metrics = {dataset.metric for dataset in datasets}
  axes.set_ylabel(f'{", ".join(sorted(metrics))} of a prompt')
  axes.set_xticks(
    range(len(datasets)),
    [dataset.dataset for dataset in datasets],
    rotation=45,
    ha='right',
  )
  axes.grid(axis='y', alpha=0.3)
  figure.legend(loc='outside upper left', ncols=4)
  with epath.Path(png).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)


def _draw_boxes(
  axes: Any,
  places: Sequence[float],
  values: Sequence[Sequence[float]],
  width: float,
  colour: str,
) -> None:
  """Draws the boxes of one run, and a dot for every prompt."""
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
