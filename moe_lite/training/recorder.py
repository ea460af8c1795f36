"""Writing down how training goes, while it goes."""

from collections.abc import Mapping
from typing import Any

import jax

from moe_lite.core import progress
from moe_lite.core.progress import say
from moe_lite.models.metrics import Reduction
from moe_lite.training import routing_metrics
from moe_lite.training.meter import Meter
from moe_lite.training.run_folder import Metrics


class Recorder:
  """A progress bar, a line of metrics every so many steps, and warnings."""

  def __init__(
    self,
    folder: str,
    batch: Mapping[str, jax.Array],
    reductions: Mapping[str, Reduction],
    done: int,
    train_steps: int,
    log_period: int,
  ):
    """Args:
    folder: of the run.
    batch: of the size that every step takes.
    reductions: see `Meter`.
    done: how many steps were done before.
    train_steps: how many there will be.
    log_period: how many steps lie between two lines.
    """
    self._train_steps, self._log_period = train_steps, log_period
    self._metrics = Metrics(folder, done)
    self._bar = progress.Progress(train_steps, done)
    self._meter = Meter(batch, reductions)
    self._alarm = routing_metrics.Alarm()

  def add(self, done: int, values: Mapping[str, Any]) -> None:
    """Takes the metrics of the step after which `done` steps are done."""
    self._meter.add(values)
    self._bar.advance()
    if done % self._log_period == 0 or done == self._train_steps:
      self._write_line(done)

  def close(self) -> None:
    """Closes the files and the bar."""
    self._bar.close()
    self._metrics.close()

  def _write_line(self, done: int) -> None:
    scalars, statistics = self._meter.read()
    if statistics:
      routers = routing_metrics.of_routers(statistics)
      self._metrics.write_routing(done, routers)
      scalars |= routing_metrics.summary(routers)
      if warning := self._alarm.check(done, routers):
        say(warning)
    self._metrics.write(done, scalars)
    self._bar.report(loss=scalars['loss'], accuracy=scalars['accuracy'])
