"""Parameters on disk: bases, runs and adapters, in every form that is known.

A thing belongs here if it knows how parameters are kept in files.
"""

from moe_lite.core import facade

__all__ = ['Checkpoints', 'load_base']

__getattr__ = facade.lazy(
  __name__, {'Checkpoints': 'runs', 'load_base': 'bases'}
)
