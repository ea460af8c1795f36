"""What is read: SeqIO tasks and mixtures, batches of them, and their catalog.

A thing belongs here if it is about data before a network sees it.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.data.batches import Batches
  from moe_lite.data.dataset import (
    Dataset,
    check,
    find,
    load,
    read,
    splits_of,
  )

__all__ = ['Batches', 'Dataset', 'check', 'find', 'load', 'read', 'splits_of']

__getattr__ = facade.lazy(
  __name__,
  {
    'Batches': 'batches',
    'Dataset': 'dataset',
    'check': 'dataset',
    'find': 'dataset',
    'load': 'dataset',
    'read': 'dataset',
    'splits_of': 'dataset',
  },
)
