"""Folders that appear whole or not at all, and replace nothing unasked."""

import contextlib
from collections.abc import Iterator

from etils import epath

from moe_lite.errors import UserError

# One of these is in every folder that this package writes as a whole, so that
# a slip of the finger replaces no other.
_OURS = (
  'adapter_config.json',
  'checkpoint',
  'checkpoints',
  'config.json',
  'metadata.json',
)


def check(path: str, overwrite: bool = False) -> None:
  """Raises UserError unless `new` may write there; for before long work.

  Args: as of `new`.
  """
  target = epath.Path(path)
  if not target.exists():
    return
  if not overwrite:
    raise UserError(
      f'{path} exists already, and is not overwritten. Remove it, name '
      'another folder, or give --overwrite.'
    )
  if not any((target / name).exists() for name in _OURS):
    raise UserError(
      f'{path} is no folder that this command writes, so that --overwrite '
      'does not replace it. Remove it, or name another folder.'
    )


@contextlib.contextmanager
def new(path: str, overwrite: bool = False) -> Iterator[epath.Path]:
  """Gives a folder of a temporary name to fill, and renames it at the end.

  Args:
    path: of the folder.
    overwrite: replace what stands there, once the new one is whole.

  Raises:
    UserError: if `path` exists, unless it is such a folder and `overwrite`.
  """
  check(path, overwrite)
  target = epath.Path(path)
  partial = target.parent / f'{target.name}.partial'
  if partial.exists():  # Of a run that was killed.
    partial.rmtree()
  partial.mkdir(parents=True)
  yield partial
  old = target.parent / f'{target.name}.old'
  if target.exists():
    target.rename(old)
  partial.rename(target)
  if old.exists():
    old.rmtree()
