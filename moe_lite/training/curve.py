"""Draws the training curve of a run as a PNG file."""

from etils import epath

from moe_lite.core import json_lines
from moe_lite.core.pictures import plain_text

# The metrics that are drawn, each with the label of its axis.
PANELS = (
  ('loss', 'loss (nats a token)'),
  ('accuracy', 'accuracy of next token'),
)


@plain_text
def training_curve(metrics_jsonl: epath.PathLike, png: epath.PathLike) -> None:
  """Draws loss and accuracy over steps.

  Args:
    metrics_jsonl: the `metrics.jsonl` of a run.
    png: the file to write.
  """
  # Imported here, because the import takes a second.
  from matplotlib.figure import Figure

  rows = json_lines.read(metrics_jsonl)
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
