"""What a training run leaves in MODEL_DIR, besides its checkpoints.

config.gin       the operative configuration: everything the run used
run.json         versions, command, device, counts, base, seed
metrics.jsonl    one JSON object a log period
routing.jsonl    likewise, of every router, with ROUTING_METRICS
loss.png         the training curve
checkpoints/     see `checkpoints.own`
events.*         the metrics again, for TensorBoard
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import gin
import jax
from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.process.environment import environment

CONFIG = 'config.gin'
RUN = 'run.json'
METRICS = 'metrics.jsonl'
ROUTING = 'routing.jsonl'
CURVE = 'loss.png'


class Metrics:
  """Writes metrics as JSON lines and for TensorBoard, on one process."""

  def __init__(self, folder: str, first_step: int):
    """Args: `first_step`, from which on a resumed run writes again."""
    self._folder = epath.Path(folder)
    self._tensorboard = None
    if jax.process_index() == 0:
      # Here, because it imports TensorFlow, which reports do not need.
      from clu import metric_writers

      for name in (METRICS, ROUTING):
        _forget_from(self._folder / name, first_step)
      self._tensorboard = metric_writers.SummaryWriter(os.fspath(folder))

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds a line to `metrics.jsonl`."""
    self._write(METRICS, {'step': step, **scalars}, scalars)

  def write_routing(
    self, step: int, routers: Mapping[str, Mapping[str, Any]]
  ) -> None:
    """Adds a line to `routing.jsonl`; see `routing_metrics.of_routers`."""
    scalars = {
      f'routing/{router}/{name}': value
      for router, values in routers.items()
      for name, value in values.items()
      if not isinstance(value, list)
    }
    self._write(ROUTING, {'step': step, 'routers': routers}, scalars)

  def close(self) -> None:
    if self._tensorboard is not None:
      self._tensorboard.close()

  def _write(
    self, file: str, line: Mapping[str, Any], scalars: Mapping[str, float]
  ) -> None:
    if self._tensorboard is None:
      return
    with (self._folder / file).open('a') as stream:
      stream.write(json.dumps(line) + '\n')
    self._tensorboard.write_scalars(line['step'], dict(scalars))
    self._tensorboard.flush()


def _forget_from(path: epath.Path, first_step: int) -> None:
  """Drops what a crashed run wrote after the checkpoint it resumes from."""
  if not path.exists():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if _step(line) <= first_step]
  if kept != lines:
    replace_text(path, ''.join(kept))


def write_config(folder: str) -> None:
  """Writes what gin bound to everything used so far."""
  if jax.process_index() == 0:
    replace_text(epath.Path(folder) / CONFIG, gin.operative_config_str())


def read_config(folder: str) -> dict[str, Any]:
  """What `config.gin` of a run gives to `training.train`, built.

  Replaces gin's configuration by that of the run.

  Raises:
    UserError: if there is no run, or its configuration cannot be read.
  """
  path = epath.Path(folder) / CONFIG
  if not path.exists():
    raise UserError(
      f'{folder!r} has no {CONFIG}: give the MODEL_DIR of a training run.'
    )
  gin.clear_config()
  try:
    gin.parse_config(path.read_text())
    return gin.get_bindings('training.train')
  except (ImportError, SyntaxError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read: {error}. It names the modules that its run '
      'used; install them, or run with the same PYTHONPATH.'
    ) from error


def write_run(folder: str, facts: Mapping[str, Any]) -> None:
  """Writes `run.json`: `facts`, and those of the software and machine."""
  if jax.process_index() != 0:
    return
  facts = {**facts, **environment()}
  replace_text(epath.Path(folder) / RUN, json.dumps(facts, indent=2) + '\n')


def _step(line: str) -> float:
  try:
    return json.loads(line)['step']
  except (ValueError, KeyError):
    # The last line of a killed run may be cut off.
    return float('inf')
