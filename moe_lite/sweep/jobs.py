"""What is left to do of a run."""

import dataclasses
import pathlib

from etils import epath

from moe_lite.evaluation import results_file
from moe_lite.evaluation.results import JSON, Evaluation
from moe_lite.sweep.expansion import TRAIN, Command, Run


@dataclasses.dataclass(frozen=True)
class Job:
  """Commands of one run, one after another.

  Attributes:
    run: the run.
    commands: its commands.
    train_steps: the steps after which its training is done.
  """

  run: Run
  commands: tuple[Command, ...]
  train_steps: int

  def missing(self) -> tuple[Command, ...]:
    """The commands that are not done.

    Nothing is missing once the results of the last command are there.
    """
    if finished_evaluation(self.commands[-1]):
      return ()
    return tuple(c for c in self.commands if not self._is_done(c))

  def _is_done(self, command: Command) -> bool:
    if command.kind != TRAIN:
      return finished_evaluation(command) is not None
    # A checkpoint appears whole or not at all.
    steps = epath.Path(command.output) / 'checkpoints' / str(self.train_steps)
    return (steps / 'description').exists()


def finished_evaluation(command: Command) -> Evaluation | None:
  """The results of an evaluation; None unless all of them are there."""
  path = epath.Path(command.output) / JSON
  if not path.exists():
    return None
  evaluation = results_file.read(path)
  return evaluation if evaluation.complete else None


def log_file(command: Command) -> pathlib.Path:
  """The file of what a command prints. It lies beside what it writes."""
  folder = pathlib.Path(command.output)
  if command.kind != TRAIN:
    folder = folder.parent
  return folder / f'{command.kind}.log'
