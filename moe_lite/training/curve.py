"""Draws the training curve of a run as a PNG file."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.core import json_lines, pictures
from moe_lite.core.pictures import plain_text
from moe_lite.training.run_folder import CURVE, METRICS, VALIDATION


@dataclasses.dataclass(frozen=True)
class _Panel:
  """What is drawn on one pair of axes.

  Attributes:
    label: the label of the vertical axis, with the unit.
    training: the metric of training that it shows, if any.
    validation: the metric of validation that it shows, if any.
    percent: from values of training to percent; None if the axis is not in
      percent.
  """

  label: str
  training: str | None
  validation: str | None
  percent: float | None = None


_PANELS = (
  _Panel('loss, nats a token', 'loss', 'loss'),
  _Panel('accuracy of the next token, %', 'accuracy', None, 100),
  # Of ranked answer choices. Validations have it in percent.
  _Panel('accuracy of validation, %', None, 'accuracy', 1),
)
_STYLES: Mapping[str, Mapping[str, Any]] = {
  'training': {'color': pictures.BLUE, 'linestyle': '-'},
  'validation': {
    'color': pictures.VERMILION,
    'linestyle': '--',
    'marker': 's',
    'markersize': 5,
  },
}


@plain_text
def training_curve(folder: str) -> None:
  """Draws loss and accuracy over steps into `loss.png`.

  Both axes of the loss are logarithmic, because the first steps would hide all
  others otherwise. Step 0, where validation begins, stands at the left edge.

  Args:
    folder: the folder of the run.
  """
  # Imported here, because the import takes a second.
  from matplotlib.figure import Figure

  path = epath.Path(folder)
  lines = {'training': json_lines.read(path / METRICS), 'validation': []}
  if (path / VALIDATION).exists():
    lines['validation'] = json_lines.read(path / VALIDATION)
  panels = [
    panel
    for panel in _PANELS
    if panel.training
    or any(panel.validation in line for line in lines['validation'])
  ]
  steps = [x['step'] for read in lines.values() for x in read if x['step'] > 0]
  figure = Figure(figsize=(4.2 * len(panels), 3.6), layout='constrained')
  figure.suptitle(pictures.title_of(folder))
  for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
    for who, metric in (
      ('training', panel.training),
      ('validation', panel.validation),
    ):
      factor = panel.percent or 1
      points = [
        (line['step'], factor * line[metric])
        for line in lines[who]
        if metric in line
      ]
      if points:
        _draw(axes, points, who)
    if steps:
      _scale_steps(axes, min(steps), max(steps))
    if panel.percent is None:
      _scale_loss(axes)
    else:
      axes.set_ylim(0, 100)
    if len(axes.lines) > 1:
      axes.legend()
    axes.set_xlabel('step, on a logarithmic scale')
    axes.set_ylabel(panel.label)
    axes.grid(alpha=0.3)
  pictures.save(figure, path / CURVE)


def _draw(axes: Any, points: Sequence[tuple[int, float]], who: str) -> None:
  style = {**_STYLES[who], 'label': who}
  if len(points) == 1:  # A line of one point would not be seen.
    style |= {'marker': style.get('marker', 'o')}
  # The point at the left edge is step 0, and is not to be cut in half.
  axes.plot(*zip(*points, strict=True), clip_on=False, **style)


def _scale_steps(axes: Any, first: int, last: int) -> None:
  """Makes steps logarithmic from the first line on, with 0 at the left."""
  from matplotlib import ticker

  axes.set_xscale('symlog', linthresh=first, linscale=0.5)
  axes.set_xlim(0, max(last, first + 1))
  # Labels that are closer than this part of the axis would collide. The linear
  # part takes half of a decade.
  apart = 0.18 * (math.log10(last / first) + 0.5)
  ticks = [first, last]
  for factor in (1, 2, 5):
    for x in (factor * 10**power for power in range(len(str(last)))):
      if all(abs(math.log10(x / other)) >= apart for other in ticks):
        ticks.append(x)
  # Those before the first or after the last line are outside.
  ticks = [x for x in ticks if first <= x <= last]
  axes.set_xticks(sorted({0, *ticks}))
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f'{x:.0f}'))
  axes.minorticks_off()


def _scale_loss(axes: Any) -> None:
  """Makes the loss logarithmic, with labels as one writes them."""
  from matplotlib import ticker

  axes.set_yscale('log')
  axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
  axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f'{x:g}'))
  axes.yaxis.set_minor_formatter(ticker.NullFormatter())
