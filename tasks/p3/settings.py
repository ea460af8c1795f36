"""What a gin file says of P3: where it lies, and its vocabulary.

These functions are read when data are, long after tasks were registered. Gin
binds their arguments, see `gin/data/p3.gin`.
"""

from collections.abc import Callable
from typing import TypeVar

import gin

_Setting = TypeVar('_Setting')


def folder(path: str | None = None) -> str | None:
  """A folder with P3, to look into before those that SeqIO knows."""
  return path


def vocabulary(
  path: str | None = None, extra_ids: int = 100
) -> tuple[str | None, int]:
  """The vocabulary.

  Args:
    path: of a SentencePiece model; None for T5's.
    extra_ids: sentinels beyond the model's own pieces.
  """
  return path, extra_ids


def get(setting: Callable[[], _Setting]) -> _Setting:
  """One of the above, with what a gin file binds to it, if one does."""
  try:
    setting = gin.get_configurable(setting)
  except ValueError:  # No gin file names it.
    pass
  return setting()
