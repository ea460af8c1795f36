"""Metrics of a training run, between two lines of them."""

import time
from collections.abc import Mapping
from typing import Any

import jax

from moe_lite.core.types import Tree


class Meter:
  """Sums the steps' metrics on the device, and reads them once a period."""

  # Those that are of one step, and are averaged; the others add up.
  MEANS = ('grad_norm', 'update_norm', 'learning_rate')
  # Likewise, of runs that have them.
  AUXILIARY = ('load_balance', 'router_z_loss', 'router_entropy')

  def __init__(self, batch: Mapping[str, jax.Array]):
    names = ('encoder_input_tokens', 'decoder_target_tokens')
    self._positions = sum(batch[name].size for name in names)
    self._rows = batch[names[0]].shape[0]
    self._steps: list[Mapping[str, Any]] = []
    self._start = time.monotonic()

  def add(self, values: Mapping[str, Any]) -> None:
    self._steps.append(values)
    # Lets the device run one step behind the host and no further: an interrupt
    # then stops soon, and the bar tells the truth.
    if len(self._steps) > 1:
      self._steps[-2]['loss'].block_until_ready()

  def read(self) -> tuple[dict[str, float], Tree]:
    """Means over the steps since the last time, and their speed.

    Returns:
      Them, and the steps' sum of routers' statistics, where they have any.
    """
    steps = jax.device_get(self._steps)
    total = jax.tree.map(lambda *values: sum(values), *steps)
    routing = total.pop('routing', {})
    sums = {name: float(value) for name, value in total.items()}
    now = time.monotonic()
    seconds = now - self._start
    self._steps, self._start = [], now
    tokens = max(sums['tokens'], 1)
    means = [*self.MEANS, *(name for name in self.AUXILIARY if name in sums)]
    scalars = {
      'loss': sums['loss'] / max(sums['weight_sum'], 1e-9),
      'z_loss': sums['z_loss'] / max(sums['weight_sum'], 1e-9),
      'normalized_loss': sums['loss'] / max(sums['normalizer'], 1e-9),
      'accuracy': sums['correct'] / tokens,
      **{name: sums[name] / len(steps) for name in means},
      'target_tokens': sums['tokens'] / len(steps),
      'nonpadding_fraction': (
        sums['nonpadding'] / (self._positions * len(steps))
      ),
      'tokens_per_second': sums['nonpadding'] / seconds,
      'rows_per_second': self._rows * len(steps) / seconds,
      'seconds_per_step': seconds / len(steps),
    }
    return scalars, routing
