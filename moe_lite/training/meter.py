"""Collects the metrics of steps between two lines of a run's metrics."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from moe_lite.core.features import DECODER_TARGETS, ENCODER_INPUTS
from moe_lite.core.types import Tree
from moe_lite.models.metrics import Reduction
from moe_lite.models.model import ROUTING
from moe_lite.training.divergence import WATCHED


class Meter:
  """Keeps the metrics of steps on the device, and reads them once a period."""

  def __init__(
    self,
    batch: Mapping[str, jax.Array],
    reductions: Mapping[str, Reduction],
  ):
    """Starts the clock.

    Args:
      batch: a batch of the size that every step takes.
      reductions: maps each metric that a step may give to how the values of
        several steps become one.
    """
    self._positions = batch[ENCODER_INPUTS].size + batch[DECODER_TARGETS].size
    self._rows = batch[ENCODER_INPUTS].shape[0]
    self._reductions = reductions
    self._steps: list[Mapping[str, Any]] = []
    self._before = _NOTHING
    self._start = time.monotonic()

  def add(self, values: Mapping[str, Any]) -> None:
    """Takes the metrics of a step.

    Args:
      values: maps the name of each metric to a number on the device. The entry
        `routing` holds the statistics of every router.

    Raises:
      ValueError: if nothing says how one of the metrics is reduced.
    """
    if unknown := sorted(values.keys() - self._reductions.keys()):
      raise ValueError(
        f'The metric {unknown[0]!r} of a step is neither a sum nor a mean. The '
        'model has to name it in `reductions`.'
      )
    self._steps.append(values)
    # The device may be one step behind the host, but no further. An interrupt
    # then stops the run soon, and the progress bar tells the truth.
    if len(self._steps) > 1:
      self._steps[-2]['loss'].block_until_ready()

  def not_finite(self) -> tuple[int, dict[str, float]] | None:
    """Looks for a step that is not finite among those since the last `read`.

    Returns:
      None if all steps are finite. Otherwise how many steps ago the first such
      step was, and its metrics `divergence.WATCHED` with the learning rate.
    """
    names = (*WATCHED, 'learning_rate')
    steps = jax.device_get(
      [{name: values[name] for name in names} for values in self._steps]
    )
    for index, values in enumerate(steps):
      if not all(np.isfinite(values[name]) for name in WATCHED):
        return len(steps) - 1 - index, values
    return None

  def read(self) -> tuple[dict[str, float], Tree]:
    """Returns the metrics of the steps since the last call, and their speed.

    Returns:
      A dict that maps the name of each metric to a number, and the sum of the
      routers' statistics over these steps. The sum is empty if there are no
      statistics.
    """
    summed = self._sum()
    total = traverse_util.unflatten_dict(summed.total)
    routing = total.pop(ROUTING, {})
    sums = {name: float(value) for name, value in total.items()}
    steps, seconds = summed.steps, summed.seconds
    self._steps, self._before = [], _NOTHING
    self._start = time.monotonic()
    means = {
      name: sums[name] / steps
      for name, reduction in self._reductions.items()
      if name in sums and reduction is Reduction.MEAN
    }
    weight, tokens = max(sums['weight_sum'], 1e-9), max(sums['tokens'], 1)
    scalars = {
      'loss': sums['loss'] / weight,
      'z_loss': sums['z_loss'] / weight,
      'normalized_loss': sums['loss'] / max(sums['normalizer'], 1e-9),
      'accuracy': sums['correct'] / tokens,
      **means,
      'target_tokens': sums['tokens'] / steps,
      'nonpadding_fraction': (sums['nonpadding'] / (self._positions * steps)),
      'tokens_per_second': sums['nonpadding'] / seconds,
      'rows_per_second': self._rows * steps / seconds,
      'seconds_per_step': seconds / steps,
    }
    used = {'loss', 'z_loss', 'normalizer', 'correct', 'tokens', 'nonpadding'}
    others = sums.keys() - means.keys() - used - {'weight_sum'}
    return scalars | {name: sums[name] for name in sorted(others)}, routing

  def state(self) -> dict[str, Any] | None:
    """Returns what a checkpoint has to keep of the steps since the last `read`.

    A run that is resumed from there then writes the same lines as a run that
    was never interrupted.

    Returns:
      What `restore` takes, for JSON. None if there are no such steps.
    """
    return self._sum().to_json() if self._steps or self._before.steps else None

  def restore(self, state: Mapping[str, Any] | None) -> None:
    """Adds the steps that a checkpoint kept; see `state`."""
    self._before = _NOTHING if state is None else _Sum.from_json(state)

  def _sum(self) -> '_Sum':
    """Sums up the steps since the last `read`, one after the other."""
    before = self._before
    total = dict(before.total)
    for values in jax.device_get(self._steps):
      for path, value in traverse_util.flatten_dict(values).items():
        total[path] = total[path] + value if path in total else value
    seconds = before.seconds + time.monotonic() - self._start
    return _Sum(before.steps + len(self._steps), seconds, total)


@dataclasses.dataclass(frozen=True)
class _Sum:
  """The sum of the metrics of some steps.

  Attributes:
    steps: how many steps.
    seconds: how long they took.
    total: the keys under which a metric lies, to the sum of its values.
  """

  steps: int
  seconds: float
  total: Mapping[tuple[str, ...], Any]

  def to_json(self) -> dict[str, Any]:
    total = [
      (list(path), np.asarray(x).dtype.name, np.asarray(x).tolist())
      for path, x in self.total.items()
    ]
    return {'steps': self.steps, 'seconds': self.seconds, 'total': total}

  @classmethod
  def from_json(cls, said: Mapping[str, Any]) -> '_Sum':
    total = {
      tuple(path): np.asarray(x, dtype)[()] for path, dtype, x in said['total']
    }
    return cls(said['steps'], said['seconds'], total)


_NOTHING = _Sum(0, 0.0, {})
