"""Ablations: a grid of configurations and seeds, run and laid side by side.

A thing belongs here if it is about many runs.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.sweep.grid import Grid

__all__ = ['Grid']

__getattr__ = facade.lazy(
  __name__,
  {
    'Grid': 'grid',
  },
)
