"""What a gin file says of P3: where it lies, and its vocabulary.

Gin binds the arguments of these functions; see `gin/data/p3.gin`. They are
called when data are read, long after the tasks were registered.
"""

from collections.abc import Callable
from typing import TypeVar

import gin

_Setting = TypeVar('_Setting')


def folder(path: str | None = None) -> str | None:
  """A folder with P3, which is searched before those that SeqIO knows."""
  return path


def vocabulary(
  path: str | None = None, extra_ids: int = 100
) -> tuple[str | None, int]:
  """The vocabulary.

  Args:
    path: the path of a SentencePiece model; None for T5's.
    extra_ids: the number of sentinels beyond the pieces of the model.

  Returns:
    Both arguments.
  """
  return path, extra_ids


def get(setting: Callable[[], _Setting]) -> _Setting:
  """Calls one of the functions above with what a gin file binds to it."""
  try:
    setting = gin.get_configurable(setting)
  except ValueError:  # No gin file names it.
    pass
  return setting()
