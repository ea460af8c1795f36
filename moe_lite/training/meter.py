"""Collects the metrics of steps between two lines of a run's metrics."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

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
    steps = jax.device_get(self._steps)
    total = jax.tree.map(lambda *values: sum(values), *steps)
    routing = total.pop(ROUTING, {})
    sums = {name: float(value) for name, value in total.items()}
    now = time.monotonic()
    seconds = now - self._start
    self._steps, self._start = [], now
    means = {
      name: sums[name] / len(steps)
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
      'target_tokens': sums['tokens'] / len(steps),
      'nonpadding_fraction': (
        sums['nonpadding'] / (self._positions * len(steps))
      ),
      'tokens_per_second': sums['nonpadding'] / seconds,
      'rows_per_second': self._rows * len(steps) / seconds,
      'seconds_per_step': seconds / len(steps),
    }
    used = {'loss', 'z_loss', 'normalizer', 'correct', 'tokens', 'nonpadding'}
    others = sums.keys() - means.keys() - used - {'weight_sum'}
    return scalars | {name: sums[name] for name in sorted(others)}, routing
