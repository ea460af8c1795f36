"""Folders that appear whole or not at all, and replace nothing."""

import contextlib
from collections.abc import Iterator

from etils import epath

from moe_lite.errors import UserError


@contextlib.contextmanager
def new(path: str) -> Iterator[epath.Path]:
  """Gives a folder of a temporary name to fill, and renames it at the end.

  Raises:
    UserError: if `path` exists.
  """
  target = epath.Path(path)
  if target.exists():
    raise UserError(
      f'{path} exists already, and is not overwritten. Remove it or name '
      'another folder.'
    )
  partial = target.parent / f'{target.name}.partial'
  partial.mkdir(parents=True, exist_ok=True)
  yield partial
  partial.rename(target)
