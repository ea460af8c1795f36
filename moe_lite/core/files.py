"""Files and folders that appear whole or not at all."""

import contextlib
import fnmatch
import hashlib
import os
import re
import socket
import uuid
from collections.abc import Iterator

from etils import epath

from moe_lite.core.errors import UserError

# The names of everything that this package writes into the folders made here. A
# folder that holds anything else is not ours, and is never replaced.
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
  """Raises UserError unless `new` may write a folder at `path`.

  A command calls this before it begins long work, so that it fails early.

  Args:
    path: the folder that `new` will make.
    overwrite: whether `new` may replace a folder that stands there.

  Raises:
    UserError: for the same reasons as `new`.
  """
  target = epath.Path(path)
  if not target.exists():
    return
  if not overwrite:
    raise UserError(
      f'{path} exists already and is not overwritten. Remove it, name another '
      'folder, or give --overwrite.'
    )
  if os.path.islink(path):
    raise UserError(f'{path} is a link. Name the folder that it leads to.')
  if not target.is_dir():
    raise UserError(f'{path} is a file. Remove it, or name a folder.')
  for entry in target.iterdir():
    if not any(fnmatch.fnmatch(entry.name, name) for name in _OURS):
      raise UserError(
        f'{path} holds {entry.name}, which this command never writes. '
        '--overwrite does not replace such a folder. Remove it, or name '
        'another folder.'
      )


@contextlib.contextmanager
def new(path: str, overwrite: bool = False) -> Iterator[epath.Path]:
  """Gives a temporary folder to fill, and renames it to `path` at the end.

  An error within the block removes the temporary folder.

  Args:
    path: the folder to make.
    overwrite: whether to replace a folder that this package wrote there before.
      It is replaced when the new folder is whole.

  Raises:
    UserError: if `path` exists and `overwrite` is false, if `path` is not a
      folder that this package wrote, or if nothing can be written there.
  """
  target = epath.Path(path)
  _clean_up(target)
  check(path, overwrite)
  # The random part makes sure that nobody has given these names. The rest tells
  # whose folder it is, should this process be killed.
  owner = f'{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}'
  partial, old = (
    target.parent / f'{target.name}.{what}-{owner}'
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
      f'{path} cannot be written: {error}. The folder that should stand there '
      f'is {partial}.'
    ) from error
  if replaces:
    old.rmtree()


def _clean_up(target: epath.Path) -> None:
  """Removes what a killed process left beside a folder that it wrote.

  If it was killed while it replaced the folder, the old one is put back.
  """
  if '://' in str(target) or not target.parent.is_dir():
    return
  name = re.escape(target.name)
  left = re.compile(rf'{name}\.(partial|old)-{_host()}-(\d+)-[0-9a-f]{{8}}')
  for path in target.parent.iterdir():
    match = left.fullmatch(path.name)
    if match is None or is_alive(int(match[2])):
      continue
    if match[1] == 'old' and not target.exists():
      path.rename(target)
    else:
      path.rmtree()


def is_alive(process: int) -> bool:
  """Returns whether a process of this machine exists."""
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # It is somebody else's.
    return True
  return True


def _host() -> str:
  """A short name of this machine that a file's name may hold."""
  return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def set_aside(path: epath.Path) -> epath.Path:
  """Renames a damaged file to a name that is free, and returns that name."""
  target = path.parent / f'{path.name}.damaged'
  while target.exists():
    target = path.parent / f'{target.name}_again'
  path.rename(target)
  return target


def replace_text(path: epath.Path, text: str) -> None:
  """Writes `text` to a file: a crash leaves the old file or the new one."""
  partial = path.parent / f'{path.name}.partial'
  partial.write_bytes(text.encode())  # UTF-8, whatever the locale says.
  partial.replace(path)
