"""Parameters on disk: bases, runs and adapters, in every form that is known.

A thing belongs here if it knows how parameters are kept in files.
"""

from typing import TYPE_CHECKING

from moe_lite.core import facade

if TYPE_CHECKING:
  from moe_lite.checkpoints.bases import load_base
  from moe_lite.checkpoints.hugging_face.sizing import network_of
  from moe_lite.checkpoints.run_checkpoints import Checkpoints

__all__ = ['Checkpoints', 'load_base', 'network_of']

__getattr__ = facade.lazy(
  __name__,
  {
    'load_base': 'bases',
    'network_of': 'hugging_face.sizing',
    'Checkpoints': 'run_checkpoints',
  },
)
