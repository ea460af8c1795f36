"""One sweep at a time holds a folder."""

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

from moe_lite.core import files
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say

_LOCK = '.lock'


@contextlib.contextmanager
def locked(root: str, period: float = 0.1) -> Iterator[int]:
  """Holds a sweep's folder, so that no two processes write to one run.

  The processes of the runs inherit the lock. If a sweep was killed, a run that
  it left behind still holds the lock, and this waits for it to end.

  Args:
    root: the folder; it is made if it does not exist.
    period: the seconds between two looks at a lock that is held.

  Yields:
    The descriptor of the lock, for processes to inherit.

  Raises:
    UserError: if another sweep runs in the folder.
  """
  path = pathlib.Path(root) / _LOCK
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('a+') as file:
    is_waiting = False
    while not _take(file.fileno()):
      owner = _owner(path)
      if owner is not None and files.is_alive(owner):
        raise UserError(
          f'Another sweep, process {owner}, is running in {root}. Wait for it, '
          'stop it, or name another folder with --to.'
        )
      if not is_waiting:
        say(
          f'Waiting for a run in {root} that an earlier call left behind: '
          'it was killed, and the run was not.'
        )
      is_waiting = True
      time.sleep(period)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    yield file.fileno()


def _take(descriptor: int) -> bool:
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True


def _owner(path: pathlib.Path) -> int | None:
  """The process of the sweep that holds the lock; None before it says so."""
  text = path.read_text()
  return int(text) if text.isdigit() else None
