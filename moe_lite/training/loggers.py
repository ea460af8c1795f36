"""Where the metrics of a run go, besides its own files.

A logger is anything with the methods of `Logger`, such as the writers of
`clu.metric_writers`. LOGGERS in gin names functions that make one of the folder
of a run.
"""

import importlib
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from etils import epath

from moe_lite.core.errors import UserError

# Says which run of Weights & Biases goes on when the run goes on.
_WANDB_ID = '.wandb'


class Logger(Protocol):
  """Takes the metrics of a run, on its first process."""

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Takes metrics: those of training have bare names.

    Others are 'validation/...' and 'routing/...'.
    """
    ...

  def flush(self) -> None:
    """Brings what was written to where it is read."""
    ...

  def close(self) -> None:
    """Ends the logger."""
    ...


# Makes a logger of the folder of a run.
LoggerFactory = Callable[[str], Logger]


def tensorboard(folder: str) -> Logger:
  """Writes for TensorBoard, into the folder of the run."""
  # Imported here, because it imports TensorFlow, which reports do not need.
  from clu import metric_writers

  return metric_writers.SummaryWriter(os.fspath(folder))


def wandb(folder: str, project: str = 'moe_lite', **options: Any) -> Logger:
  """Writes to Weights & Biases (extra `wandb`); a resumed run goes on there.

  Args:
    folder: the folder of the run. The name of the run is that of the folder.
    project: the project of the run.
    **options: other arguments of `wandb.init`, such as `entity`.

  Raises:
    UserError: if it is not installed.
  """
  try:
    client = importlib.import_module('wandb')
  except ImportError as error:
    raise UserError(
      f'LOGGERS names wandb, which cannot be imported ({error}): pip install '
      "'moe_lite[wandb]'"
    ) from error
  file = epath.Path(folder) / _WANDB_ID
  if not file.exists():
    file.write_text(uuid.uuid4().hex)
  run = client.init(
    project=project,
    name=epath.Path(folder).name,
    id=file.read_text().strip(),
    resume='allow',
    **options,
  )
  return _Wandb(run)


class _Wandb:
  """A run of Weights & Biases as a logger."""

  def __init__(self, run: Any):
    self._run = run

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    self._run.log(dict(scalars), step=step)

  def flush(self) -> None:
    pass

  def close(self) -> None:
    self._run.finish()
