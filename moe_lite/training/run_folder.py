"""Writes what a training run leaves in MODEL_DIR, besides its checkpoints.

config.gin       the operative configuration: everything that the run used
run.json         the versions, command, device, counts, base and seed
metrics.jsonl    the metrics, one JSON object for each log period
routing.jsonl    with ROUTING_METRICS: the measures of every router, one JSON
                 object for each log period
loss.png         the training curve
checkpoints/     the checkpoints; see `checkpoints.run_items`
damaged/         checkpoints that could not be used when the run was resumed
.lock            who writes here at present; see `core.locks`
events.*         the metrics again, for TensorBoard
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import gin
import jax
from etils import epath

from moe_lite.core import json_text
from moe_lite.core.errors import UserError, some
from moe_lite.core.files import replace_text
from moe_lite.process.environment import environment

CONFIG = 'config.gin'
RUN = 'run.json'
METRICS = 'metrics.jsonl'
ROUTING = 'routing.jsonl'
CURVE = 'loss.png'
_OURS = (CONFIG, RUN, METRICS, ROUTING, CURVE, 'checkpoints')
_MAY_BE_THERE = re.compile(r'\..*|.*\.(log|txt|out|err)').fullmatch


def check(folder: str) -> None:
  """Checks that a folder is one of a run, or may become one.

  Raises:
    UserError: if it holds something else, and nothing of a run.
  """
  path = epath.Path(folder)
  names = sorted(x.name for x in path.iterdir()) if path.is_dir() else []
  if any(name in _OURS or name.startswith('events.') for name in names):
    return
  # A log, or a hidden file, may be there before the run.
  others = [name for name in names if not _MAY_BE_THERE(name)]
  if others:
    raise UserError(
      f'MODEL_DIR = {folder!r} holds {some(others)}, and nothing of a run. '
      'Name a new folder, or the folder of a run.'
    )


class Metrics:
  """Writes metrics as JSON lines and for TensorBoard, on the first process."""

  def __init__(self, folder: str, first_step: int):
    """Opens the files.

    Args:
      folder: the folder of the run.
      first_step: how many steps are done. Lines that an earlier process wrote
        about later steps are dropped.
    """
    self._folder = epath.Path(folder)
    self._tensorboard = None
    if jax.process_index() == 0:
      # Imported here, because it imports TensorFlow, which reports do not need.
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
    """Closes the file of TensorBoard."""
    if self._tensorboard is not None:
      self._tensorboard.close()

  def _write(
    self, file: str, line: Mapping[str, Any], scalars: Mapping[str, float]
  ) -> None:
    if self._tensorboard is None:
      return
    with (self._folder / file).open('a') as stream:
      stream.write(json_text.dumps(line) + '\n')
    self._tensorboard.write_scalars(line['step'], dict(scalars))
    self._tensorboard.flush()


def write_config(folder: str) -> None:
  """Writes `config.gin`: what gin bound to everything used so far."""
  if jax.process_index() == 0:
    replace_text(epath.Path(folder) / CONFIG, gin.operative_config_str())


def write_run(folder: str, facts: Mapping[str, Any]) -> None:
  """Writes `run.json`: what a run is, and what software and machine it used.

  Args:
    folder: the folder of the run.
    facts: what else to write.
  """
  if jax.process_index() != 0:
    return
  facts = {**facts, **environment()}
  replace_text(
    epath.Path(folder) / RUN, json_text.dumps(facts, indent=2) + '\n'
  )


def _forget_from(path: epath.Path, first_step: int) -> None:
  """Drops what a crashed run wrote after the last checkpoint."""
  if not path.exists():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if _step(line) <= first_step]
  if kept != lines:
    replace_text(path, ''.join(kept))


def _step(line: str) -> float:
  """Returns the step of a line, which is infinite if the line is damaged."""
  try:
    return json.loads(line)['step']
  except (ValueError, KeyError):
    # The last line of a run that was killed may be cut off.
    return float('inf')
