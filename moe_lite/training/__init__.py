"""The training loop: its step, how a run is resumed, and what a run leaves.

A thing belongs here if only training needs it.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.training.loop import train

__all__ = ['train']

__getattr__ = facade.lazy(
  __name__,
  {
    'train': 'loop',
  },
)
