"""How the metrics of several training steps are reduced to one value."""

import enum


class Reduction(enum.Enum):
  """How a metric is reduced over several steps.

  Over the parts of one batch, every metric adds up.
  """

  # The values of the steps add up, as counts of tokens do.
  SUM = 'sum'
  # A value describes one step, as a learning rate does. The values of several
  # steps are averaged.
  MEAN = 'mean'
