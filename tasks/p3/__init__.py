"""P3, the data of T0. Importing it registers its tasks."""

from tasks.p3.suite import FEATURES, rate

__all__ = ['FEATURES', 'rate']
