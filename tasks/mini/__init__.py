"""The mini suite: P3 in miniature. Importing it registers its tasks."""

from tasks.mini.suite import FEATURES, TASKS, VOCABULARY, rate

__all__ = ['FEATURES', 'TASKS', 'VOCABULARY', 'rate']
