"""Gives a folder one owner at a time, so that no two commands write into it.

The owner holds a lock of the operating system on the file `.lock` in the
folder, which says who it is. The system gives it back when the process ends, in
whatever way. This holds on local disks and on network file systems that have
locks, such as NFS.

A bucket has no locks, and neither have some network file systems. There the
owner writes the file anew every few seconds. A second command reads it, waits,
and reads it again: if the file has not changed, the owner is dead. Two commands
that start within the same second may both find no owner.
"""

import contextlib
import datetime
import fcntl
import functools
import inspect
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import jax
from etils import epath

from moe_lite.core import json_text
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say

NAME = '.lock'
# Where there are no locks: how often an owner writes the file, and how long a
# second command waits for it to change, in seconds.
PERIOD = 5
PATIENCE = 4 * PERIOD


def owning(argument: str, macro: str, what: str) -> Callable[..., Any]:
  """Decorates a function that writes into a folder; see `owned`.

  Args:
    argument: the argument of the function that names the folder.
    macro: the macro that names it, for messages.
    what: what the function does, for messages, such as 'A training'.
  """

  def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
      folder = signature.bind(*args, **kwargs).arguments[argument]
      with owned(folder, macro, what):
        return function(*args, **kwargs)

    # Gin does not look for the signature behind a decorator.
    vars(call)['__signature__'] = signature
    return call

  return decorate


@contextlib.contextmanager
def owned(folder: str, macro: str, what: str) -> Iterator[None]:
  """Owns a folder within the block. Process 0 owns it for all processes.

  Args:
    folder: the folder, which is made.
    macro: the macro that names it, for messages.
    what: what is done in it, for messages, such as 'A training'.

  Raises:
    UserError: if another command owns it, or if nothing can be written there.
  """
  if not isinstance(folder, str | os.PathLike) or not str(folder).strip():
    raise UserError(f'{macro} = {folder!r} must be the path of a folder.')
  if jax.process_index() != 0:
    yield
    return
  path = epath.Path(folder)
  if '://' not in str(path) and path.is_file():
    raise UserError(f'{macro} = {str(folder)!r} is a file. Name a folder.')
  is_new = not path.exists()
  try:
    path.mkdir(parents=True, exist_ok=True)
    taken = _take(path, macro, what)
  except OSError as error:
    raise UserError(
      f'{macro} = {str(folder)!r} cannot be written: {error}. Name a folder '
      'that you may write to.'
    ) from error
  try:
    with taken:
      yield
  finally:
    if is_new:  # It stays if anything was written.
      with contextlib.suppress(OSError):
        os.rmdir(folder)


def check_free(folder: Any, macro: str) -> None:
  """Raises UserError if another process owns a local folder; makes nothing."""
  if not isinstance(folder, str) or '://' in folder:
    return
  path = epath.Path(folder)
  try:
    with open(path / NAME, 'r+') as file:
      fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
      fcntl.flock(file.fileno(), fcntl.LOCK_UN)
  except BlockingIOError:
    raise _in_use(path, _read(path / NAME), macro) from None
  except (OSError, ValueError):
    return  # There is no lock, or what is wrong is seen later.


def _take(
  path: epath.Path, macro: str, what: str
) -> contextlib.AbstractContextManager[None]:
  """Takes the lock of a folder; the result gives it back at its end."""
  about = {
    'what': what,
    'host': socket.gethostname(),
    'process': os.getpid(),
    'start': datetime.datetime.now(datetime.UTC).isoformat(' ', 'seconds'),
    'command': ' '.join(sys.argv)[:300],
  }
  if '://' in str(path):
    return _lease(path / NAME, about, macro)
  while True:
    file = open(path / NAME, 'a+')
    try:
      fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      said = _read(path / NAME)
      file.close()
      raise _in_use(path, said, macro) from None
    except OSError:  # This file system has no locks.
      file.close()
      return _lease(path / NAME, about, macro)
    if _is_at(file, path / NAME):
      return _hold(file, path / NAME, about)
    # Its owner removed it just now.
    file.close()


@contextlib.contextmanager
def _hold(file: IO[str], path: epath.Path, about: Any) -> Iterator[None]:
  with file:
    file.truncate(0)
    file.write(json_text.dumps(about) + '\n')
    file.flush()
    try:
      yield
    finally:
      if _is_at(file, path):
        path.unlink()


def _is_at(file: IO[str], path: epath.Path) -> bool:
  """Whether an open file is still the one of its name."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
  except FileNotFoundError:
    return False


@contextlib.contextmanager
def _lease(path: epath.Path, about: Any, macro: str) -> Iterator[None]:
  """Owns a folder where there are no locks."""
  before = _read(path)
  if before:
    say(f'{path} names an owner. Waiting {PATIENCE} s to see if it is alive.')
    time.sleep(PATIENCE)
    if _read(path) not in (None, before):
      raise _in_use(path.parent, before, macro)
  ended = threading.Event()

  def renew() -> None:
    count = 0
    while True:
      # A bucket that cannot be reached for a moment does not end the run.
      with contextlib.suppress(Exception):
        path.write_text(json_text.dumps({**about, 'count': count}) + '\n')
      count += 1
      if ended.wait(PERIOD):
        break

  thread = threading.Thread(target=renew, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()
    with contextlib.suppress(Exception):
      path.unlink(missing_ok=True)


def _in_use(path: epath.Path, said: Any, macro: str) -> UserError:
  said = said or {}
  who = said.get('what', 'Another command')
  place = ', '.join(
    f'{name} {said[name]}' for name in ('process', 'host') if name in said
  )
  since = f' since {said["start"]}' if 'start' in said else ''
  return UserError(
    f'{macro} = {str(path)!r} is in use. {who}'
    f'{f" ({place})" if place else ""} has been writing there{since}. Wait for '
    'it, stop it, or name another folder. If you are sure that it is dead, '
    f'remove {path / NAME}.'
  )


def _read(path: epath.Path) -> Any:
  """What the owner says; None if there is none."""
  try:
    said = json.loads(path.read_text())
  except Exception:
    # Each kind of bucket has errors of its own for an object that is missing,
    # or is being written.
    return None
  return said if isinstance(said, dict) else None
