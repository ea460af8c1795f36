"""Many processes of one run: how they find one another, and how they end.

On a pod every host runs the same command. Whatever ends one process ends all
of them soon, each with a message: a mistake, an error, a host that was lost.
Processes talk through the key-value store of JAX's coordination service, which
process 0 holds; so nothing here waits for a device.
"""

import contextlib
import ctypes
import dataclasses
import difflib
import inspect
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import jax

# JAX offers the client of its key-value store nowhere else.
from jax._src import distributed as jax_distributed

from moe_lite import __version__
from moe_lite.errors import UserError

# How long processes wait for one another at the start; in seconds.
JOIN_TIMEOUT = 45
# After so long without a sign of life a process counts as lost.
HEARTBEAT_TIMEOUT = 30
# Between two looks at whether another process has ended.
_PERIOD = 0.5
# How long others have to learn why a process ends, before it does.
_GRACE = 5
# Processes may differ by so much in how long they import, read and compile. One
# that is lost meanwhile is noticed without this limit.
_PATIENCE = 3600
_AGAIN = 'Run the same command again, on every host, to go on.'
_ENDS = 'moe_lite/ends'
_GIVEN = 'moe_lite/given'
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
    code: the exit code, once it is known.
    saved: says what of the run is on disk.
    handler: of SIGABRT, kept from being collected.
  """

  client: Any
  index: int
  count: int
  ending: threading.Lock = dataclasses.field(default_factory=threading.Lock)
  code: int = 1
  saved: Callable[[], str] = str
  handler: Any = None


_run: _Run | None = None


def join(
  multi_host: bool,
  coordinator_address: str | None,
  process_count: int | None,
  process_index: int | None,
  timeout: int = JOIN_TIMEOUT,
  saves_on_sigterm: bool = False,
) -> None:
  """Joins the other processes; nothing where no flag asks for it.

  Must be called before anything touches a device.

  Args:
    multi_host: have JAX find the rest, which it does on Cloud TPU, GKE, Slurm
      and Open MPI.
    coordinator_address: HOST:PORT of process 0.
    process_count: how many there are.
    process_index: which this one is, from 0.
    timeout: how long to wait for all of them, in seconds.
    saves_on_sigterm: whether the program asks `reached_preemption` at every
      step. SIGTERM ends it at once otherwise.

  Raises:
    UserError: for wrong flags, or if there is nobody at the address. Where
      others do not come in time, the process ends with a message and code 2.
  """
  flags = {
    '--coordinator_address': coordinator_address,
    '--process_count': process_count,
    '--process_index': process_index,
  }
  missing = [name for name, value in flags.items() if value is None]
  if len(missing) == 3 and not multi_host:
    return
  deadline = time.monotonic() + timeout
  if len(missing) < 3:
    _check_flags(flags, missing)
    assert coordinator_address is not None
    if process_index == 0:
      _check_free(coordinator_address)
    else:
      _find(coordinator_address, deadline)
  _initialize(
    deadline,
    saves_on_sigterm,
    coordinator_address=coordinator_address,
    num_processes=process_count,
    process_id=process_index,
  )


def check_same(given: str) -> None:
  """Raises UserError unless all processes were given the same lines of text.

  Where another process differs, this one ends with its message.
  """
  if _run is None:
    return
  lines = '\n'.join(
    [
      f'process_count = {_run.count}',
      f'moe_lite {__version__}, jax {jax.__version__}',
      given,
    ]
  )
  _run.client.key_value_set(f'{_GIVEN}/{_run.index}', lines)
  first = _run.client.blocking_key_value_get(f'{_GIVEN}/0', 1000 * _PATIENCE)
  if lines != first:
    raise UserError(
      f'Process {_run.index} was given another configuration than process 0 '
      f'(-: process 0, +: process {_run.index}):\n{_changes(first, lines)}\n'
      'Run the very same command, with the same files and versions, on every '
      'host; only --process_index may differ.'
    )
  meet('configured')


def meet(where: str) -> None:
  """Returns when all processes are here; at once for a single process.

  To be called after work that takes one process longer than another, before
  they first compute together: on CPUs that fails after half a minute.

  Args:
    where: a name that is used once in a run.
  """
  if _run is not None:
    _run.client.wait_at_barrier(f'moe_lite/{where}', 1000 * _PATIENCE)


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


def _check_flags(flags: dict[str, Any], missing: list[str]) -> None:
  if missing:
    raise UserError(
      f'{" and ".join(missing)} is missing. Give --coordinator_address='
      'HOST:PORT (of process 0), --process_count and --process_index together, '
      'or --multi_host alone where JAX finds the processes by itself.'
    )
  address, count, index = flags.values()
  if not re.fullmatch(r'.+:\d+', address):
    raise UserError(
      f'--coordinator_address={address} must be HOST:PORT: a host that all '
      'others reach, where process 0 runs, and a free port of it, such as '
      '10.0.0.1:8476.'
    )
  if not 0 <= index < count:
    raise UserError(
      f'--process_index={index} must be from 0 to {count - 1}, below '
      f'--process_count={count}: one for each process.'
    )


def _check_free(address: str) -> None:
  port = int(address.rpartition(':')[2])
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(('', port))
    except (OSError, OverflowError) as error:
      raise UserError(
        f'--coordinator_address={address}: process 0 cannot listen at port '
        f'{port} ({error}). Another run may still use it: wait for its end, or '
        'give another port to all processes.'
      ) from error


def _find(address: str, deadline: float) -> None:
  """Returns when somebody listens there."""
  host, _, port = address.rpartition(':')
  start = time.monotonic()
  while True:
    try:
      socket.create_connection((host.strip('[]'), int(port)), 2).close()
      return
    except (OSError, OverflowError) as error:
      # Process 0, and on some clusters its name, may come a little later.
      if time.monotonic() > deadline:
        raise UserError(
          f'--coordinator_address={address}: nobody listened there for '
          f'{time.monotonic() - start:.0f} s ({error}). It must be the host '
          'where the process with --process_index=0 runs, reachable from here, '
          'and that process must have started.'
        ) from error
    time.sleep(0.5)


def _initialize(
  deadline: float, saves_on_sigterm: bool, **arguments: Any
) -> None:
  global _run
  # What processes on a CPU speak; accelerators have their own.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  with contextlib.suppress(AttributeError):  # It is new in JAX.
    jax.config.update('jax_enable_preemption_service', saves_on_sigterm)
  left = max(1.0, deadline - time.monotonic())
  options = {
    **arguments,
    # JAX would end the process without a word of ours: we come first.
    'initialization_timeout': round(left) + 60,
    'heartbeat_timeout_seconds': HEARTBEAT_TIMEOUT,
  }
  known = inspect.signature(jax.distributed.initialize).parameters
  too_late = threading.Timer(left, _give_up, [left])
  too_late.daemon = True
  too_late.start()
  try:
    jax.distributed.initialize(
      **{name: value for name, value in options.items() if name in known}
    )
  except (ValueError, RuntimeError) as error:
    raise UserError(
      f'The processes of this run cannot find one another: {error} '
      '--multi_host alone needs Cloud TPU, GKE, Slurm or Open MPI; elsewhere '
      'give --coordinator_address=HOST:PORT, --process_count and '
      '--process_index.'
    ) from error
  finally:
    too_late.cancel()
  state = jax_distributed.global_state
  _run = _Run(state.client, state.process_id, state.num_processes)
  _speak_when_aborted(_run)
  threading.Thread(target=_watch, args=[_run], daemon=True).start()


def _give_up(seconds: float) -> NoReturn:
  state = jax_distributed.global_state
  _write(
    f'error: Not all of the {state.num_processes} processes joined at '
    f'{state.coordinator_address} within {seconds:.0f} s. Start the same '
    f'command {state.num_processes} times, with --process_index=0 to '
    f'{state.num_processes - 1}, or give the right --process_count. Hosts that '
    'start far apart need a longer --initialization_timeout.\n'
  )
  os._exit(2)


def _watch(run: _Run) -> None:
  """Ends this process when another one has ended with an error."""
  while True:
    time.sleep(_PERIOD)
    try:
      found = run.client.key_value_dir_get(_ENDS)
    except Exception:  # The service is gone: JAX itself ends this process.
      return
    for key, value in found:
      code, text = json.loads(value)
      if text:
        index = key.rpartition('/')[2]
        saved = f' {run.saved()}' if code == 1 else ''
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
    _write(f'{said}\n')
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
  _write('')
  # Without waiting for the others at exit, as JAX and Orbax would.
  os._exit(code)


def _speak_when_aborted(run: _Run) -> None:
  """Adds a message to how JAX ends a process when another one is lost.

  It aborts from C++, and Python's own handlers would run after that. One made
  by `ctypes` runs in the thread that aborts.
  """

  def speak(number: int) -> None:
    if run.ending.acquire(blocking=False):
      _write(f'{_lost(run, "JAX says more above")}\n')
    os._exit(run.code)

  run.handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(speak)
  ctypes.CDLL(None).signal(signal.SIGABRT, run.handler)


def _lost(run: _Run, detail: str) -> str:
  return (
    f'error: Process {run.index} of {run.count} stops: another process of this '
    f'run was lost, or no longer answers ({detail}). {run.saved()} {_AGAIN}'
  )


def _changes(before: str, after: str) -> str:
  diff = difflib.unified_diff(
    before.splitlines(), after.splitlines(), lineterm='', n=0
  )
  lines = [line for line in diff if not line.startswith(('---', '+++', '@@'))]
  more = [f'... and {len(lines) - 12} more lines'] if len(lines) > 12 else []
  return '\n'.join(f'  {line}' for line in [*lines[:12], *more])


def _write(text: str) -> None:
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(Exception):
      stream.flush()
  os.write(2, text.encode())
