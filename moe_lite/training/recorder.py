"""Reports how training goes: on the terminal, and in the run's folder."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from moe_lite.core import progress
from moe_lite.core.progress import say
from moe_lite.models.metrics import Reduction
from moe_lite.training import divergence, routing_metrics
from moe_lite.training.loggers import LoggerFactory
from moe_lite.training.meter import Meter
from moe_lite.training.run_folder import Metrics


class Recorder:
  """Moves a progress bar, writes a line of metrics at times, and warns."""

  def __init__(
    self,
    folder: str,
    batch: Mapping[str, jax.Array],
    reductions: Mapping[str, Reduction],
    done: int,
    train_steps: int,
    log_period: int,
    saved: Callable[[], int | None],
    state: Mapping[str, Any] | None = None,
    validations: Sequence[Mapping[str, Any]] = (),
    loggers: Sequence[LoggerFactory] = (),
    tasks: Sequence[str] = (),
  ):
    """Opens the files of the run and starts the clock.

    Args:
      folder: the folder of the run.
      batch: a batch of the size that every step takes.
      reductions: maps each metric to how the values of several steps become
        one.
      done: how many steps were done before.
      train_steps: how many steps the whole run has.
      log_period: how many steps lie between two lines of metrics.
      saved: is called if the run diverges; returns the step of the checkpoint
        that is left, for a message.
      state: what the method of this name returned at that checkpoint.
      validations: the lines of the validations until then.
      loggers: make the loggers of the folder.
      tasks: what the numbers of tokens stand for, if they have any.
    """
    self._folder, self._saved = folder, saved
    self._train_steps, self._log_period = train_steps, log_period
    self._metrics = Metrics(folder, done, loggers)
    self._bar = progress.Progress(train_steps, done, period=0.0)
    self._meter = Meter(batch, reductions)
    self._meter.restore(state)
    self._alarm = routing_metrics.Alarm()
    self._tasks = tasks
    self.validations = list(validations)

  def add(self, done: int, values: Mapping[str, Any]) -> None:
    """Takes the metrics of a step.

    Args:
      done: how many steps of the run are done after this one.
      values: the metrics; see `Meter.add`.

    Raises:
      Diverged: see `check`, which is called before a line is written.
    """
    self._meter.add(values)
    self._bar.advance()
    if done % self._log_period == 0 or done == self._train_steps:
      self.check(done)
      self._write_line(done)

  def check(self, done: int) -> None:
    """Looks at the steps since the last line.

    Args:
      done: how many steps of the run are done.

    Raises:
      Diverged: if a number of one of them is NaN or infinite.
    """
    if bad := self._meter.not_finite():
      ago, found = bad
      raise divergence.diverged(
        done - ago, self._train_steps, found, self._folder, self._saved()
      )

  def add_validation(self, done: int, values: Mapping[str, float]) -> None:
    """Writes what a validation found."""
    if not self.validations or self.validations[-1]['step'] < done:
      self.validations.append({'step': done, **values})
      self._metrics.write_validation(done, values)
    found = ', '.join(
      f'{name} {x:.4g}' for name, x in values.items() if '/' not in name
    )
    say(f'validation at step {done}: {found}')

  def state(self) -> dict[str, Any] | None:
    """What a checkpoint has to keep; see `Meter.state`."""
    return self._meter.state()

  def close(self) -> None:
    """Closes the files and the bar."""
    self._bar.close()
    self._metrics.close()

  def _write_line(self, done: int) -> None:
    """Writes the metrics of the steps since the last line."""
    scalars, statistics = self._meter.read()
    if statistics:
      routers = routing_metrics.of_routers(statistics)
      tasks = routing_metrics.of_tasks(statistics, self._tasks)
      self._metrics.write_routing(done, routers, tasks)
      scalars |= routing_metrics.summary(routers)
      scalars |= routing_metrics.summary_of_tasks(tasks)
      if warning := self._alarm.check(done, routers):
        say(warning)
    self._metrics.write(done, scalars)
    self._bar.report(loss=scalars['loss'], accuracy=scalars['accuracy'])
