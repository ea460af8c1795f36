"""Measuring a run on tasks: from scores to tables, files and pictures.

A thing belongs here if it turns what a model says into numbers about tasks.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.evaluation.loop import evaluate
  from moe_lite.evaluation.validation import Validation

__all__ = ['Validation', 'evaluate']

__getattr__ = facade.lazy(
  __name__,
  {
    'Validation': 'validation',
    'evaluate': 'loop',
  },
)
