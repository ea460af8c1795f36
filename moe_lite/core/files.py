"""Files and folders that appear whole or not at all."""

import contextlib
import fnmatch
import os
import uuid
from collections.abc import Iterator

from etils import epath

from moe_lite.core.errors import UserError

# All that this package writes into such folders. One with anything else in it
# is somebody's, and is not replaced.
_OURS = (
  'README.md',
  'adapter_config.json',
  'adapter_model.safetensors',
  'after',
  'before',
  'by_task',
  'checkpoint',
  'checkpoints',
  'collapse.json',
  'config.json',
  'metadata.json',
  'model.safetensors',
  'spiece.model',
  'target.*',
  'torch_adapters.py',
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
  if os.path.islink(path):
    raise UserError(f'{path} is a link. Name the folder that it leads to.')
  if not target.is_dir():
    raise UserError(f'{path} is a file. Remove it, or name a folder.')
  for entry in target.iterdir():
    if not any(fnmatch.fnmatch(entry.name, name) for name in _OURS):
      raise UserError(
        f'{path} holds {entry.name}, which this command never writes, so that '
        '--overwrite does not replace it. Remove it, or name another folder.'
      )


@contextlib.contextmanager
def new(path: str, overwrite: bool = False) -> Iterator[epath.Path]:
  """Gives a folder of a temporary name to fill, and renames it at the end.

  Args:
    path: of the folder.
    overwrite: replace what stands there, once the new one is whole.

  Raises:
    UserError: if `path` exists, unless it is such a folder and `overwrite`; or
      if nothing can be written there.
  """
  check(path, overwrite)
  target = epath.Path(path)
  # No name that anybody may have given.
  partial, old = (
    target.parent / f'{target.name}.{what}-{uuid.uuid4().hex[:8]}'
    for what in ('partial', 'old')
  )
  try:
    partial.mkdir(parents=True)
  except OSError as error:
    raise UserError(f'{path} cannot be written: {error}.') from error
  try:
    yield partial
  except BaseException:
    partial.rmtree()
    raise
  replaces = target.exists()
  try:
    if replaces:
      target.rename(old)
    partial.rename(target)
  except OSError as error:
    if old.exists():
      old.rename(target)
    raise UserError(
      f'{path} cannot be written: {error}. What should stand there is '
      f'{partial}.'
    ) from error
  if replaces:
    old.rmtree()


def replace_text(path: epath.Path, text: str) -> None:
  """Replaces a file whole: a crash leaves the old one or the new one."""
  partial = path.parent / f'{path.name}.partial'
  partial.write_text(text)
  partial.replace(path)
