"""Means over seeds, and how far they may be off."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds.

  Attributes:
    values: the value of each seed.
    mean: their mean.
    half: half of the confidence interval of the mean; None for one value.
  """

  values: Sequence[float]
  mean: float
  half: float | None


def estimate(values: Sequence[float]) -> Estimate:
  """Takes the mean, with its confidence interval by Student's t."""
  mean, half = interval(values)
  return Estimate(values, mean, half)


def interval(values: Sequence[float]) -> tuple[float, float | None]:
  """The mean, and half of its confidence interval by Student's t.

  The half is None for a single value.
  """
  mean = float(np.mean(values))
  count = len(values)
  if count < 2:
    return mean, None
  error = np.std(values, ddof=1) / np.sqrt(count)
  quantile = scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)
  return mean, float(error * quantile)


def difference(
  first: Sequence[float], second: Sequence[float]
) -> tuple[float, float | None]:
  """The difference of means, and half of its interval by Welch's t.

  The half is None where either has a single value.
  """
  mean = float(np.mean(first) - np.mean(second))
  if min(len(first), len(second)) < 2:
    return mean, None
  if np.ptp(first) == 0 and np.ptp(second) == 0:
    return mean, 0.0
  test: Any = scipy.stats.ttest_ind(first, second, equal_var=False)
  low, high = test.confidence_interval(CONFIDENCE)
  return mean, float(high - low) / 2
