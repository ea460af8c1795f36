"""SeqIO's tasks and mixtures, batches of them on a mesh, and their catalog.

A thing belongs here if it concerns data before a network sees them.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.data.batches import Batches
  from moe_lite.data.choices import ChoiceDataset
  from moe_lite.data.dataset import (
    Dataset,
    check,
    find,
    load,
    read,
    splits_of,
    task_names,
  )

__all__ = [
  'Batches',
  'ChoiceDataset',
  'Dataset',
  'check',
  'find',
  'load',
  'read',
  'splits_of',
  'task_names',
]

__getattr__ = facade.lazy(
  __name__,
  {
    'Batches': 'batches',
    'ChoiceDataset': 'choices',
    'Dataset': 'dataset',
    'check': 'dataset',
    'find': 'dataset',
    'load': 'dataset',
    'read': 'dataset',
    'splits_of': 'dataset',
    'task_names': 'dataset',
  },
)
