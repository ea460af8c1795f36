"""The training loop: what a step is, how a run goes on, and what it leaves.

A thing belongs here if only a run that trains needs it.
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
