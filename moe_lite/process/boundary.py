"""Says in one message what went wrong, where that is not our own fault.

A command ends with exit code 2 and one message if a file, a place on disk, the
memory, or code of the user's is to blame. The message claims only what was
established. Every other error is a fault of this package: it keeps its stack
trace, and ends the command with exit code 1.
"""

import errno
import json
import linecache
import logging
import pathlib
import re
import select
import sys
import sysconfig
import traceback
from typing import IO

from moe_lite.core.errors import UserError

_PACKAGE = pathlib.Path(__file__).parents[1]
_OURS = (_PACKAGE, _PACKAGE.parent / 'tasks')
_LIBRARIES = tuple(
  pathlib.Path(sysconfig.get_path(name))
  for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')
)
# TensorFlow names the lines of a function that it traced in its message.
_NAMED = re.compile(r'File "([^"]+)", line (\d+)')
# What libraries say of a full disk, each in an error of its own, and of where.
_NO_SPACE = re.compile(
  r'No space left on device|Disk quota exceeded', re.IGNORECASE
).search
_PATH = re.compile(r'(?:[Ww]riting:?|local file) "(/[^"]+)"').search
_SAVED = 'Nothing that was saved is lost. Run the same command again to go on.'
FAULT = (
  'This is a fault of moe_lite, and not of yours. Please report it, with the '
  'command and the lines above.'
)


def explain(error: BaseException) -> UserError | None:
  """Returns the message for an error; None if it is a fault of this package."""
  if isinstance(error, UserError):
    return error
  first = _first_line(error)
  if full := _NO_SPACE(str(error)):
    where = _PATH(str(error))
    return UserError(
      f'{full[0]}{f" at {where[1]}" if where else ""}. Make room, and run the '
      'same command again. Nothing that was saved is lost.'
    )
  if place := in_user_code(error):
    return UserError(f'{place} raised {first}')
  if isinstance(error, UnicodeDecodeError):
    return UserError(
      f'A file is not text in UTF-8: byte {error.object[error.start]:#04x} at '
      f'place {error.start}. Save it as UTF-8.'
    )
  if isinstance(error, json.JSONDecodeError):
    return UserError(f'A file is not JSON: {first}')
  if isinstance(error, OSError):
    return _of_system(error)
  if isinstance(error, MemoryError):
    return UserError(f'The memory of this machine is full ({first}). {_SAVED}')
  if 'RESOURCE_EXHAUSTED' in str(error):
    return UserError(
      f'The memory of the device is full: {first}. Take a smaller BATCH_SIZE, '
      f"more MICROBATCHES, or REMAT = 'full'. {_SAVED}"
    )
  tensorflow = sys.modules.get('tensorflow')
  if tensorflow and isinstance(error, tensorflow.errors.OpError):
    return UserError(f'TensorFlow could not go on: {first} {_SAVED}')
  return None


def is_unread(stream: IO[str]) -> bool:
  """Whether a stream is a pipe whose reader has gone."""
  try:
    place = stream.fileno()
  except (OSError, ValueError):  # It is no file, or it is closed.
    return False
  poll = select.poll()
  poll.register(place, 0)  # Errors are told always.
  return any(event & select.POLLERR for _, event in poll.poll(0))


def silence_threads() -> None:
  """Hides what threads of libraries print of an error that is raised as well.

  A save that fails is raised where it is waited for. Until then its other
  threads find their event loop closed, and Python prints a trace of each.
  """
  before = sys.unraisablehook

  def hook(unraisable: 'sys.UnraisableHookArgs') -> None:
    if str(unraisable.exc_value) != 'Event loop is closed':
      before(unraisable)

  if before.__module__ != __name__:
    sys.unraisablehook = hook
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)


def in_user_code(error: BaseException) -> str | None:
  """Where the user's own code raised an error, with the line of it.

  Returns:
    An example is "tasks.py, line 3, `return row['x']`,". None if the innermost
    code that belongs to no library is this package's.
  """
  places = [
    (frame.filename, frame.lineno or 0)
    for frame in traceback.extract_tb(error.__traceback__)
  ]
  named = [(name, int(line)) for name, line in _NAMED.findall(str(error))]
  for name, line in reversed(places + named):
    path = pathlib.Path(name)
    if not path.is_file() or _is_within(path, _LIBRARIES):
      continue
    if _is_within(path, _OURS):
      return None
    text = linecache.getline(name, line).strip()
    return f'{name}, line {line}, `{text}`,'
  return None


def _of_system(error: OSError) -> UserError:
  """The message for an error of the operating system."""
  what = error.strerror or _first_line(error)
  where = f'{error.filename}: ' if error.filename else ''
  if error.errno in (errno.ENOSPC, errno.EDQUOT):
    return UserError(
      f'{where}{what}. Make room, and run the same command again. Nothing that '
      'was saved is lost.'
    )
  return UserError(
    f'{where}{what}. Check the path, and that you may read and write there. '
    f'{_SAVED}'
  )


def _first_line(error: BaseException) -> str:
  lines = [x.strip() for x in str(error).splitlines() if x.strip()]
  # A function that TensorFlow traced says what it raised in its last line.
  if lines and lines[0] == 'in user code:':
    return f'{lines[-1]}'
  said = f': {lines[0]}' if lines else ''
  return f'{type(error).__name__}{said}'[:500]


def _is_within(path: pathlib.Path, folders: tuple[pathlib.Path, ...]) -> bool:
  resolved = path.resolve()
  return any(resolved.is_relative_to(folder.resolve()) for folder in folders)
