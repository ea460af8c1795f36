"""Ends all processes of a run when one of them ends, each with a message.

A process that ends writes its reason into the key-value store of JAX's
coordination service, which process 0 holds. In every process, a thread looks
there for the reasons of others. If a process is lost without a word, JAX
notices, and aborts the others.
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
from jax._src.distributed import global_state

from moe_lite.core import json_text

# How often a process looks whether another one has ended, in seconds.
_PERIOD = 0.5
# How long a process waits for others to learn why it ends, in seconds.
_GRACE = 5
_AGAIN = 'Run the same command again, on every host, to go on.'
_ENDS = 'moe_lite/ends'
# Finds the errors that JAX and Orbax raise if another process does not answer.
_OF_A_LOST_PROCESS = re.compile(
  r'gloo \w|nccl|coordination ?service|barrier (timed|failed)'
  '|connection (reset|closed) by peer',
  re.I,
)


@dataclasses.dataclass
class _Run:
  """This process among the others of its run.

  Attributes:
    client: the client of the key-value store.
    index: the number of this process.
    count: how many processes there are.
    ending: a lock that the thread holds that ends this process.
    over: set when this process ends by itself and stops watching the others.
    code: the exit code, once it is known.
    saved: returns a sentence on what of the run is on disk.
  """

  client: Any
  index: int
  count: int
  ending: threading.Lock = dataclasses.field(default_factory=threading.Lock)
  over: threading.Event = dataclasses.field(default_factory=threading.Event)
  code: int = 1
  saved: Callable[[], str] = str


_run: _Run | None = None
# The handler of SIGABRT. It stands here so that it is not garbage-collected.
_handler: Any = None


def share(client: Any, index: int, count: int) -> None:
  """Makes this process end with the others from now on, and them with it.

  Args:
    client: the client of the key-value store.
    index: the number of this process.
    count: how many processes there are.
  """
  global _run
  _run = _Run(client, index, count)
  watcher = threading.Thread(target=_watch, args=[_run], daemon=True)
  watcher.start()
  atexit.register(_stop_watching, _run, watcher)


def tell_saved(saved: Callable[[], str]) -> None:
  """Sets what to say about saved work when a process of the run is lost.

  Args:
    saved: returns a sentence on what is on disk.
  """
  if _run is not None:
    _run.saved = saved


def end(code: int, text: str) -> None:
  """Ends all processes because this one ends.

  This does nothing for a process that did not join others.

  Args:
    code: the exit code of all processes.
    text: the reason, which the other processes print. This one has printed it.
  """
  if _run is not None:
    _end(_run, code, None, text)


def fail(error: Exception) -> None:
  """Ends all processes because this one failed with an error.

  This does nothing for a process that did not join others.
  """
  run = _run
  if run is None:
    return
  text = f'{type(error).__name__}: {error}'.partition('\n')[0]
  if _OF_A_LOST_PROCESS.search(str(error)):
    # If the other process ended by itself, its reason will arrive soon.
    time.sleep(4 * _PERIOD)
    _end(run, 1, _lost(run, text[:200]), f'it lost another. {_AGAIN}')
  traceback.print_exception(error)
  _end(run, 1, None, text)


def speak_when_aborted() -> None:
  """Prints a message when JAX aborts this process because another is lost.

  JAX aborts from C++, and handlers of Python would only run after that. A
  handler made with `ctypes` runs in the thread that aborts.
  """
  global _handler

  def speak(number: int) -> None:
    run, state = _run, global_state
    if run is None:
      write(
        f'error: Process {state.process_id} could not join the others at '
        f'{state.coordinator_address}; JAX says more above. Each process needs '
        'a --process_index of its own, and each run needs a port of its own.\n'
      )
      os._exit(2)
    if run.ending.acquire(blocking=False):
      write(f'{_lost(run, "JAX says more above")}\n')
    os._exit(run.code)

  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(speak)
  ctypes.CDLL(None).signal(signal.SIGABRT, _handler)


def write(text: str) -> None:
  """Writes a text to standard error, after all that was printed before."""
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(Exception):
      stream.flush()
  os.write(2, text.encode())


def _stop_watching(run: _Run, watcher: threading.Thread) -> None:
  # At its end the interpreter kills threads in the middle of a call. If a
  # thread is killed in JAX's client, the process aborts although its work is
  # done. So the thread has to stop before.
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
  """Ends this process, and tells the others why.

  Args:
    run: this process.
    code: the exit code.
    said: what to print; None or '' prints nothing.
    reason: what the others print. It is '' if one of them ended this process.
  """
  if not run.ending.acquire(blocking=False):
    time.sleep(4 * _GRACE)  # Another thread is about to end the process.
  run.code = code
  if said:
    write(f'{said}\n')
  with contextlib.suppress(Exception):
    run.client.key_value_set(
      f'{_ENDS}/{run.index}', json_text.dumps([code, reason]), True
    )
    # The store ends with process 0, so process 0 waits for the others.
    deadline = time.monotonic() + _GRACE
    while run.index == 0 and time.monotonic() < deadline:
      if len(run.client.key_value_dir_get(_ENDS)) == run.count:
        break
      time.sleep(_PERIOD / 5)
  write('')
  # A normal exit would wait for the other processes, as JAX and Orbax do.
  os._exit(code)


def _lost(run: _Run, detail: str) -> str:
  return (
    f'error: Process {run.index} of {run.count} stops: another process of this '
    f'run was lost, or no longer answers ({detail}). {run.saved()} {_AGAIN}'
  )
