"""Many processes of one run: how they find one another.

On a pod every host runs the same command. Before anything else its processes
join, and make sure that they were given the same; `endings` ends them together.
They talk through the key-value store of JAX's coordination service, so nothing
here waits for a device.
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
from jax._src import distributed as jax_distributed

from moe_lite.core.errors import UserError
from moe_lite.core.version import VERSION
from moe_lite.process import endings

# How long processes wait for one another at the start, in seconds: those that
# somebody starts by hand, and those of a pod, whose hosts may come far apart.
JOIN_TIMEOUT = 45
POD_JOIN_TIMEOUT = 300
# After so long without a sign of life a process counts as lost.
HEARTBEAT_TIMEOUT = 30
# Processes may differ by so much in how long they import, read and compile. One
# that is lost meanwhile is noticed without this limit.
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
  """Joins the other processes; nothing where no flag asks for it.

  Must be called before anything touches a device.

  Args:
    multi_host: have JAX find the rest, which it does on Cloud TPU, GKE, Slurm
      and Open MPI.
    coordinator_address: HOST:PORT of process 0.
    process_count: how many there are.
    process_index: which this one is, from 0.
    timeout: how long to wait for all of them, in seconds; None for
      `JOIN_TIMEOUT`, or `POD_JOIN_TIMEOUT` where JAX finds the rest.
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
  """Raises UserError unless all processes were given the same lines of text.

  Where another process differs, this one ends with its message.
  """
  client, state = _client(), jax_distributed.global_state
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
  client = _client()
  if client is not None:
    client.wait_at_barrier(f'moe_lite/{where}', 1000 * _PATIENCE)


def _client() -> Any:
  """Of the key-value store; None for a process that did not join others."""
  return jax_distributed.global_state.client


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
  endings.speak_when_aborted()
  try:
    jax.distributed.initialize(
      **{name: value for name, value in options.items() if name in known}
    )
  except (ValueError, RuntimeError) as error:
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    raise UserError(
      f'The processes of this run cannot find one another: {error} '
      '--multi_host alone needs Cloud TPU, GKE, Slurm or Open MPI; elsewhere '
      'give --coordinator_address=HOST:PORT, --process_count and '
      '--process_index.'
    ) from error
  finally:
    too_late.cancel()
  state = jax_distributed.global_state
  endings.share(state.client, state.process_id, state.num_processes)


def _give_up(seconds: float) -> NoReturn:
  state = jax_distributed.global_state
  endings.write(
    f'error: Not all of the {state.num_processes} processes joined at '
    f'{state.coordinator_address} within {seconds:.0f} s. Start the same '
    f'command {state.num_processes} times, with --process_index=0 to '
    f'{state.num_processes - 1}, or give the right --process_count. Hosts that '
    'start far apart need a longer --initialization_timeout.\n'
  )
  os._exit(2)


def _changes(before: str, after: str) -> str:
  diff = difflib.unified_diff(
    before.splitlines(), after.splitlines(), lineterm='', n=0
  )
  lines = [line for line in diff if not line.startswith(('---', '+++', '@@'))]
  more = [f'... and {len(lines) - 12} more lines'] if len(lines) > 12 else []
  return '\n'.join(f'  {line}' for line in [*lines[:12], *more])
