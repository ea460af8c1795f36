"""How the processes of one run find one another.

On a pod every host runs the same command. Before anything else the processes
join, and check that all of them were given the same configuration. The module
`endings` ends them together. Processes talk through the key-value store of
JAX's coordination service, so nothing here waits for a device.
"""

import contextlib
import difflib
import inspect
import os
import re
import signal
import socket
import threading
import time
from typing import Any, NoReturn

import jax

# JAX offers the client of its key-value store nowhere else.
from jax._src.distributed import global_state

from moe_lite.core.errors import UserError
from moe_lite.core.version import VERSION
from moe_lite.process import endings

# How long processes that are started by hand wait for one another, in seconds.
JOIN_TIMEOUT = 45
# The hosts of a pod may start far apart, so their processes wait longer.
POD_JOIN_TIMEOUT = 300
# A process counts as lost after so many seconds without a sign of life.
HEARTBEAT_TIMEOUT = 30
# One process may take so many seconds longer than another to import, read and
# compile. The heartbeats notice a process that is lost meanwhile.
_PATIENCE = 3600
_GIVEN = 'moe_lite/given'


def join(
  multi_host: bool,
  coordinator_address: str | None,
  process_count: int | None,
  process_index: int | None,
  timeout: int | None = None,
  saves_on_sigterm: bool = False,
) -> None:
  """Joins the other processes of the run.

  This does nothing if no flag asks for other processes. It must be called
  before anything touches a device. If the other processes do not join in time,
  this process ends with a message and exit code 2.

  Args:
    multi_host: whether JAX finds the other processes by itself. It can on Cloud
      TPU, GKE, Slurm and Open MPI.
    coordinator_address: HOST:PORT of process 0.
    process_count: how many processes there are.
    process_index: the number of this process, from 0.
    timeout: how long to wait for all processes, in seconds. None means
      `POD_JOIN_TIMEOUT` if JAX finds the other processes by itself, and
      `JOIN_TIMEOUT` otherwise.
    saves_on_sigterm: whether the program calls `reached_preemption` at every
      step. If it does not, SIGTERM ends it at once.

  Raises:
    UserError: if flags are wrong or missing, or if nobody listens at the
      address.
  """
  flags = {
    '--coordinator_address': coordinator_address,
    '--process_count': process_count,
    '--process_index': process_index,
  }
  missing = [name for name, value in flags.items() if value is None]
  if len(missing) == 3 and not multi_host:
    return
  if timeout is None:
    timeout = POD_JOIN_TIMEOUT if len(missing) == 3 else JOIN_TIMEOUT
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
  """Raises UserError unless all processes were given the same configuration.

  If it is another process that differs from process 0, that process raises the
  error, and ends this one.

  Args:
    given: the configuration of this process, as lines of text.
  """
  client, state = _client(), global_state
  if client is None:
    return
  index = state.process_id
  lines = '\n'.join(
    [
      f'process_count = {state.num_processes}',
      f'moe_lite {VERSION}, jax {jax.__version__}',
      given,
    ]
  )
  client.key_value_set(f'{_GIVEN}/{index}', lines)
  first = client.blocking_key_value_get(f'{_GIVEN}/0', 1000 * _PATIENCE)
  if lines != first:
    raise UserError(
      f'Process {index} was given another configuration than process 0 '
      f'(-: process 0, +: process {index}):\n{_changes(first, lines)}\n'
      'Run the very same command, with the same files and versions, on every '
      'host. Only --process_index may differ.'
    )
  meet('configured')


def meet(where: str) -> None:
  """Waits until all processes call this; a single process does not wait.

  It is called before the processes first compute together, after work that
  takes one of them longer than another. On CPUs a computation fails if a
  process comes half a minute later than another.

  Args:
    where: the name of this place. A run may use a name once.
  """
  client = _client()
  if client is not None:
    client.wait_at_barrier(f'moe_lite/{where}', 1000 * _PATIENCE)


def _client() -> Any:
  """Returns the client of the key-value store.

  Returns:
    None if this process did not join others.
  """
  return global_state.client


def _check_flags(flags: dict[str, Any], missing: list[str]) -> None:
  if missing:
    verb = 'is' if len(missing) == 1 else 'are'
    raise UserError(
      f'{" and ".join(missing)} {verb} missing. Give --coordinator_address='
      'HOST:PORT (of process 0), --process_count and --process_index together, '
      'or --multi_host alone if JAX can find the processes by itself.'
    )
  address, count, index = flags.values()
  if not re.fullmatch(r'.+:\d+', address):
    raise UserError(
      f'--coordinator_address={address} must be HOST:PORT, such as '
      '10.0.0.1:8476: the host where process 0 runs, which all others reach, '
      'and a free port of that host.'
    )
  if not 0 <= index < count:
    raise UserError(
      f'--process_index={index} must be from 0 to {count - 1}, because '
      f'--process_count={count}. Give each process an index of its own.'
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
        f'{port} ({error}). Another run may still use it. Wait for its end, or '
        'give another port to all processes.'
      ) from error


def _find(address: str, deadline: float) -> None:
  """Waits until somebody listens at an address, or raises UserError."""
  host, _, port = address.rpartition(':')
  start = time.monotonic()
  while True:
    try:
      socket.create_connection((host.strip('[]'), int(port)), 2).close()
      return
    except (OSError, OverflowError) as error:
      # Process 0 may start a little later, and on some clusters its name may
      # be known a little later, too.
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
  # Processes on CPUs exchange data through gloo. Accelerators have their own
  # ways.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  with contextlib.suppress(AttributeError):  # Older versions of JAX lack it.
    jax.config.update('jax_enable_preemption_service', saves_on_sigterm)
  left = max(1.0, deadline - time.monotonic())
  options = {
    **arguments,
    # JAX would end the process without our message, so it waits longer than we.
    'initialization_timeout': round(left) + 60,
    'heartbeat_timeout_seconds': HEARTBEAT_TIMEOUT,
  }
  known = inspect.signature(jax.distributed.initialize).parameters
  too_late = threading.Timer(left, _give_up, [left])
  too_late.daemon = True
  too_late.start()
  endings.speak_when_aborted()
  try:
    jax.distributed.initialize(
      **{name: value for name, value in options.items() if name in known}
    )
  except (ValueError, RuntimeError) as error:
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    raise UserError(
      f'The processes of this run cannot find one another: {error} '
      '--multi_host alone needs Cloud TPU, GKE, Slurm or Open MPI. Elsewhere '
      'give --coordinator_address=HOST:PORT, --process_count and '
      '--process_index.'
    ) from error
  finally:
    too_late.cancel()
  state = global_state
  endings.share(state.client, state.process_id, state.num_processes)


def _give_up(seconds: float) -> NoReturn:
  """Ends this process because others did not join in `seconds`."""
  state = global_state
  endings.write(
    f'error: Not all of the {state.num_processes} processes joined at '
    f'{state.coordinator_address} within {seconds:.0f} s. Start the same '
    f'command {state.num_processes} times, with --process_index=0 to '
    f'{state.num_processes - 1}, or give the right --process_count. Hosts that '
    'start far apart need a longer --initialization_timeout.\n'
  )
  os._exit(2)


def _changes(before: str, after: str) -> str:
  """Returns the lines that differ between two texts, twelve at most."""
  diff = difflib.unified_diff(
    before.splitlines(), after.splitlines(), lineterm='', n=0
  )
  lines = [line for line in diff if not line.startswith(('---', '+++', '@@'))]
  more = [f'... and {len(lines) - 12} more lines'] if len(lines) > 12 else []
  return '\n'.join(f'  {line}' for line in [*lines[:12], *more])
