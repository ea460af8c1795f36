"""What is read: SeqIO tasks and mixtures, batches of them, and their catalog.

A thing belongs here if it is about data before a network sees it.
"""

from moe_lite.core import facade

__all__ = [
  'Batches',
  'Dataset',
  'check',
  'find',
  'load',
  'read',
  'splits_of',
]

__getattr__ = facade.lazy(
  __name__, {**dict.fromkeys(__all__, 'dataset'), 'Batches': 'batches'}
)
