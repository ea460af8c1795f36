"""Means and intervals, against SciPy and by hand."""

import numpy as np
import scipy.stats

from moe_lite.sweep.intervals import Estimate, difference, estimate, interval


def test_intervals_are_those_of_students_t():
  values = [70.1, 72.5, 69.3, 74.0, 71.2]
  mean, half = interval(values)
  low, high = scipy.stats.t.interval(
    0.95, 4, loc=np.mean(values), scale=scipy.stats.sem(values)
  )
  np.testing.assert_allclose([mean - half, mean + half], [low, high])
  # By a table: 2.776 is the quantile of four degrees of freedom.
  deviation = np.std(values, ddof=1)
  np.testing.assert_allclose(half, 2.776 * deviation / 5**0.5, rtol=1e-3)
  assert interval([3.0]) == (3.0, None)
  assert estimate([3.0]) == Estimate([3.0], 3.0, None)


def test_differences_have_welchs_interval():
  a, b = [70.0, 72.0, 71.0], [65.0, 60.0, 66.0, 69.0]
  mean, half = difference(a, b)
  variances = [np.var(x, ddof=1) / len(x) for x in (a, b)]
  freedom = sum(variances) ** 2 / sum(
    v**2 / (len(x) - 1) for v, x in zip(variances, (a, b), strict=True)
  )
  wanted = scipy.stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
  np.testing.assert_allclose([mean, half], [6.0, wanted])
  assert difference([1.0], [0.0, 2.0]) == (0.0, None)
  assert difference([1.0, 1.0], [2.0, 2.0]) == (-1.0, 0.0)
