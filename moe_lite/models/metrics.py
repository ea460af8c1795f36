"""How the metrics of steps make those of a period."""

import enum


class Reduction(enum.Enum):
  """What becomes of a metric over several steps.

  The parts of one batch always add up, whichever this is.
  """

  # The values of steps add up, as counts of tokens do.
  SUM = 'sum'
  # A value is of one step, as a learning rate is, and is averaged over steps.
  MEAN = 'mean'
