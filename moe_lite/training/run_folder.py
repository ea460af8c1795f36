"""Writes what a training run leaves in MODEL_DIR, besides its checkpoints.

config.gin       the operative configuration: everything that the run used
run.json         the versions, command, device, counts, base and seed
metrics.jsonl    the metrics, one JSON object for each log period
routing.jsonl    with ROUTING_METRICS: the measures of every router, one JSON
                 object for each log period
validation.jsonl with EVAL_MIXTURE: the metrics of every validation
loss.png         the training curve
checkpoints/     the checkpoints; see `checkpoints.run_items`
damaged/         checkpoints that could not be used when the run was resumed
.lock            who writes here at present; see `core.locks`
events.*         the metrics again, for TensorBoard; see `loggers`
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import jax
from etils import epath

from moe_lite.core import json_files, json_lines, json_text
from moe_lite.core.errors import UserError, some
from moe_lite.core.files import replace_text
from moe_lite.process.environment import environment
from moe_lite.training.loggers import Logger, LoggerFactory

CONFIG = 'config.gin'
RUN = 'run.json'
METRICS = 'metrics.jsonl'
ROUTING = 'routing.jsonl'
VALIDATION = 'validation.jsonl'
CURVE = 'loss.png'
_OURS = (CONFIG, RUN, METRICS, ROUTING, VALIDATION, CURVE, 'checkpoints')
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
  """Writes metrics as JSON lines and to loggers, on the first process."""

  def __init__(
    self, folder: str, first_step: int, loggers: Sequence[LoggerFactory] = ()
  ):
    """Opens the files.

    Args:
      folder: the folder of the run.
      first_step: how many steps are done. Lines that an earlier process wrote
        about later steps are dropped.
      loggers: make the loggers of the folder.
    """
    self._files: dict[str, json_lines.Lines] = {}
    self._loggers: list[Logger] = []
    if jax.process_index() == 0:
      for name in (METRICS, ROUTING, VALIDATION):
        path = epath.Path(folder) / name
        before = json_lines.read(path) if path.exists() else []
        kept = _count_until(first_step, before)
        self._files[name] = json_lines.Lines(path, kept)
      self._loggers = [make(folder) for make in loggers]

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds a line to `metrics.jsonl`."""
    self._write(METRICS, {'step': step, **scalars}, scalars)

  def write_routing(
    self,
    step: int,
    routers: Mapping[str, Mapping[str, Any]],
    tasks: Mapping[str, Mapping[str, Any]],
  ) -> None:
    """Adds a line to `routing.jsonl`.

    Args:
      step: how many steps are done.
      routers: see `routing_metrics.of_routers`.
      tasks: see `routing_metrics.of_tasks`.
    """
    scalars = {
      f'routing/{router}/{name}': value
      for router, values in routers.items()
      for name, value in values.items()
      if not isinstance(value, list)
    }
    scalars |= {
      f'routing_tasks/{task}/{name}': values[name]
      for task, values in tasks.items()
      for name in ('entropy', 'from_all')
    }
    line = {'step': step, 'routers': routers}
    self._write(ROUTING, line | ({'tasks': tasks} if tasks else {}), scalars)

  def write_validation(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds a line to `validation.jsonl`."""
    named = {f'validation/{name}': x for name, x in scalars.items()}
    self._write(VALIDATION, {'step': step, **scalars}, named)

  def close(self) -> None:
    """Closes the loggers."""
    for logger in self._loggers:
      logger.close()

  def _write(
    self, file: str, line: Mapping[str, Any], scalars: Mapping[str, float]
  ) -> None:
    if file not in self._files:  # It is not the first process.
      return
    self._files[file].append([json_text.dumps(line)])
    for logger in self._loggers:
      logger.write_scalars(line['step'], dict(scalars))
      logger.flush()


def validations(folder: str, step: int) -> list[Mapping[str, Any]]:
  """Reads the lines of `validation.jsonl` of the steps until `step`."""
  path = epath.Path(folder) / VALIDATION
  lines = json_lines.read(path) if path.exists() else []
  return list(lines[: _count_until(step, lines)])


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
  json_files.write(epath.Path(folder) / RUN, facts)


def _count_until(step: int, rows: Sequence[Mapping[str, Any]]) -> int:
  """How many of the first lines are of no later step.

  A run that was killed may have written others after its last checkpoint.
  """
  steps = (row.get('step') for row in rows)
  is_kept = (isinstance(x, int) and x <= step for x in steps)
  return sum(itertools.takewhile(bool, is_kept))
