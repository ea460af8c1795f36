"""How the processes of one run end: all of them soon, each with a message.

What one process says before it ends goes to the others through the key-value
store of JAX's coordination service, which process 0 holds; a thread of each
looks there. What says nothing any more, JAX notices, and aborts the others.
"""

import atexit
import contextlib
import ctypes
import dataclasses
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

# JAX offers the client of its key-value store nowhere else.
from jax._src import distributed as jax_distributed

# Between two looks at whether another process has ended; in seconds.
_PERIOD = 0.5
# How long others have to learn why a process ends, before it does.
_GRACE = 5
_AGAIN = 'Run the same command again, on every host, to go on.'
_ENDS = 'moe_lite/ends'
# In what JAX and Orbax raise when another process no longer answers.
_OF_A_LOST_PROCESS = re.compile(
  r'gloo \w|nccl|coordination ?service|barrier (timed|failed)'
  '|connection (reset|closed) by peer',
  re.I,
)


@dataclasses.dataclass
class _Run:
  """This process among the others of its run.

  Attributes:
    client: of the key-value store.
    index: of this process.
    count: of processes.
    ending: held by the thread that ends this process.
    over: set when this process ends by itself, and watches no more.
    code: the exit code, once it is known.
    saved: says what of the run is on disk.
  """

  client: Any
  index: int
  count: int
  ending: threading.Lock = dataclasses.field(default_factory=threading.Lock)
  over: threading.Event = dataclasses.field(default_factory=threading.Event)
  code: int = 1
  saved: Callable[[], str] = str


_run: _Run | None = None
# Of SIGABRT, kept from being collected.
_handler: Any = None


def share(client: Any, index: int, count: int) -> None:
  """From here on, this process ends with the others, and they with it.

  Args:
    client: of the key-value store.
    index: of this process.
    count: of processes.
  """
  global _run
  _run = _Run(client, index, count)
  watcher = threading.Thread(target=_watch, args=[_run], daemon=True)
  watcher.start()
  atexit.register(_stop_watching, _run, watcher)


def tell_saved(saved: Callable[[], str]) -> None:
  """Has `saved` say what is on disk, when a process of the run is lost."""
  if _run is not None:
    _run.saved = saved


def end(code: int, text: str) -> None:
  """Ends all processes because this one ends; nothing for a single process.

  Args:
    code: the exit code of all.
    text: why, for the others; this process has said it.
  """
  if _run is not None:
    _end(_run, code, None, text)


def fail(error: Exception) -> None:
  """Ends all processes after an error; nothing for a single process."""
  run = _run
  if run is None:
    return
  text = f'{type(error).__name__}: {error}'.partition('\n')[0]
  if _OF_A_LOST_PROCESS.search(str(error)):
    # If the other ended by itself, its reason is about to be heard.
    time.sleep(4 * _PERIOD)
    _end(run, 1, _lost(run, text[:200]), f'it lost another. {_AGAIN}')
  traceback.print_exception(error)
  _end(run, 1, None, text)


def speak_when_aborted() -> None:
  """Adds a message to how JAX ends a process when another one is lost.

  It aborts from C++, and Python's own handlers would run after that. One made
  by `ctypes` runs in the thread that aborts.
  """
  global _handler

  def speak(number: int) -> None:
    run, state = _run, jax_distributed.global_state
    if run is None:
      write(
        f'error: Process {state.process_id} could not join the others at '
        f'{state.coordinator_address}; JAX says more above. Each needs a '
        '--process_index of its own, and each run a port of its own.\n'
      )
      os._exit(2)
    if run.ending.acquire(blocking=False):
      write(f'{_lost(run, "JAX says more above")}\n')
    os._exit(run.code)

  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(speak)
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)


def _stop_watching(run: _Run, watcher: threading.Thread) -> None:
  # An interpreter that ends tears threads out of what they call. Out of JAX's
  # client, that aborts the process, though its work was done.
  run.over.set()
  watcher.join(_GRACE)


def _watch(run: _Run) -> None:
  """Ends this process when another one has ended with an error."""
  while not run.over.wait(_PERIOD):
    try:
      found = run.client.key_value_dir_get(_ENDS)
    except Exception:  # If the service is gone, JAX itself ends this process.
      continue
    for key, value in found:
      code, text = json.loads(value)
      if text:
        index = key.rpartition('/')[2]
        saved = f'\n{run.saved()}' if code == 1 else ''
        said = f'error: Process {index} of {run.count} ended: {text}{saved}'
        _end(run, code, said, '')


def _end(run: _Run, code: int, said: str | None, reason: str) -> NoReturn:
  """Ends this process.

  Args:
    run: this process.
    code: the exit code.
    said: to print, if anything.
    reason: for the others; '' if it came from one of them.
  """
  if not run.ending.acquire(blocking=False):
    time.sleep(4 * _GRACE)  # Another thread is about to end the process.
  run.code = code
  if said:
    write(f'{said}\n')
  with contextlib.suppress(Exception):
    run.client.key_value_set(
      f'{_ENDS}/{run.index}', json.dumps([code, reason]), True
    )
    # The store ends with process 0, which therefore goes last.
    deadline = time.monotonic() + _GRACE
    while run.index == 0 and time.monotonic() < deadline:
      if len(run.client.key_value_dir_get(_ENDS)) == run.count:
        break
      time.sleep(_PERIOD / 5)
  write('')
  # Without waiting for the others at exit, as JAX and Orbax would.
  os._exit(code)


def _lost(run: _Run, detail: str) -> str:
  return (
    f'error: Process {run.index} of {run.count} stops: another process of this '
    f'run was lost, or no longer answers ({detail}). {run.saved()} {_AGAIN}'
  )


def write(text: str) -> None:
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(Exception):
      stream.flush()
  os.write(2, text.encode())
