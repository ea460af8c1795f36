"""Metrics of a training run, between two lines of them."""

import time
from collections.abc import Mapping

import jax


class Meter:
  """Sums the steps' metrics on the device, and reads them once a period."""

  # Those that are of one step, and are averaged; the others add up.
  MEANS = ('grad_norm', 'update_norm', 'learning_rate')

  def __init__(self, batch: Mapping[str, jax.Array]):
    names = ('encoder_input_tokens', 'decoder_target_tokens')
    self._positions = sum(batch[name].size for name in names)
    self._rows = batch[names[0]].shape[0]
    self._steps: list[Mapping[str, jax.Array]] = []
    self._start = time.monotonic()

  def add(self, values: Mapping[str, jax.Array]) -> None:
    self._steps.append(values)
    # Lets the device run one step behind the host and no further: an interrupt
    # then stops soon, and the bar tells the truth.
    if len(self._steps) > 1:
      self._steps[-2]['loss'].block_until_ready()

  def read(self) -> dict[str, float]:
    """Means over the steps since the last time, and their speed."""
    steps = jax.device_get(self._steps)
    sums = {name: float(sum(s[name] for s in steps)) for name in steps[0]}
    now = time.monotonic()
    seconds = now - self._start
    self._steps, self._start = [], now
    tokens = max(sums['tokens'], 1)
    return {
      'loss': sums['loss'] / max(sums['weight_sum'], 1e-9),
      'z_loss': sums['z_loss'] / max(sums['weight_sum'], 1e-9),
      'normalized_loss': sums['loss'] / max(sums['normalizer'], 1e-9),
      'accuracy': sums['correct'] / tokens,
      **{name: sums[name] / len(steps) for name in self.MEANS},
      'target_tokens': sums['tokens'] / len(steps),
      'nonpadding_fraction': (
        sums['nonpadding'] / (self._positions * len(steps))
      ),
      'tokens_per_second': sums['nonpadding'] / seconds,
      'rows_per_second': self._rows * len(steps) / seconds,
      'seconds_per_step': seconds / len(steps),
    }
