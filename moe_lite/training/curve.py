"""Draws the training curve of a run as a PNG file."""

from etils import epath

from moe_lite.core import json_lines
from moe_lite.core.pictures import plain_text
from moe_lite.training.run_folder import CURVE, METRICS, VALIDATION

# What is drawn: the label of an axis, and the metric of training and that of
# validation on it. The accuracy of a validation is that of ranked choices.
PANELS = (
  ('loss (nats a token)', 'loss', 'loss'),
  ('accuracy of next token', 'accuracy', None),
  ('accuracy of validation (%)', None, 'accuracy'),
)

COLOURS = {'training': 'tab:blue', 'validation': 'tab:orange'}


@plain_text
def training_curve(folder: str) -> None:
  """Draws loss and accuracy over steps into `loss.png`.

  Args:
    folder: the folder of the run.
  """
  # Imported here, because the import takes a second.
  from matplotlib.figure import Figure

  path = epath.Path(folder)
  rows = json_lines.read(path / METRICS)
  found = path / VALIDATION
  validations = json_lines.read(found) if found.exists() else []
  panels = [
    (label, [(rows, train, 'training'), (validations, other, 'validation')])
    for label, train, other in PANELS
    if train or any(other in line for line in validations)
  ]
  figure = Figure(figsize=(4.5 * len(panels), 3.5), layout='constrained')
  for axes, (label, drawn) in zip(
    figure.subplots(1, len(panels)), panels, strict=True
  ):
    for lines, name, who in drawn:
      points = [(line['step'], line[name]) for line in lines if name in line]
      if points:
        marker = 'o' if len(points) == 1 else None
        style = {'color': COLOURS[who], 'marker': marker, 'label': who}
        axes.plot(*zip(*points, strict=True), **style)
    if len(axes.lines) > 1:
      axes.legend()
    axes.set_xlabel('step')
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
  with (path / CURVE).open('wb') as file:
    figure.savefig(file, format='png', dpi=120)
