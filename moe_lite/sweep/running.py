"""Runs what is missing of a plan, as processes of this machine."""

import collections
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.progress import duration, say
from moe_lite.process import interrupts
from moe_lite.sweep.expansion import TRAIN, Command, Run, result_file

# Between two looks at the processes; in seconds.
_PERIOD = 0.1
_LOCK = '.lock'


@dataclasses.dataclass(frozen=True)
class Job:
  """Commands of one run, one after another.

  Attributes:
    run: whose they are.
    commands: of it.
    train_steps: after which its training is done.
  """

  run: Run
  commands: tuple[Command, ...]
  train_steps: int

  def missing(self) -> tuple[Command, ...]:
    """What is not done; nothing once the last command's results are there."""
    if is_complete(self.commands[-1]):
      return ()
    return tuple(c for c in self.commands if not self._is_done(c))

  def _is_done(self, command: Command) -> bool:
    if command.kind != TRAIN:
      return is_complete(command)
    # A checkpoint appears whole or not at all.
    steps = epath.Path(command.output) / 'checkpoints' / str(self.train_steps)
    return (steps / 'description').exists()


def is_complete(command: Command) -> bool:
  """Whether the results of an evaluation are all there."""
  path = result_file(command)
  return path.exists() and json.loads(path.read_text())['complete']


@dataclasses.dataclass
class _Active:
  job: Job
  command: Command
  rest: list[Command]
  process: subprocess.Popen
  start: float


class Runner:
  """Runs jobs, some at a time, and counts them over all calls.

  Attributes:
    failed: names of runs that failed, to why.
  """

  def __init__(self, root: str, jobs: int, total: int):
    """Args: `jobs` at a time; `total`, an estimate of how many will come."""
    self.failed: dict[str, str] = {}
    self._root = root
    self._jobs = jobs
    self._left = total
    self._total = total
    self._seconds: list[float] = []
    self._began = time.monotonic()

  def run(self, jobs: Sequence[Job], lock: int | None = None) -> None:
    """Runs what is missing of the jobs.

    Args:
      jobs: in this order.
      lock: a file that the processes hold open, too; see `locked`.

    Raises:
      interrupts.Interrupted: on Ctrl-C or SIGTERM, when the processes have
        saved and ended.
    """
    waiting = collections.deque(
      (job, list(missing)) for job in jobs if (missing := job.missing())
    )
    self._left -= len(jobs) - len(waiting)
    active: list[_Active] = []
    try:
      with interrupts.catch_signals() as caught:
        while (waiting or active) and not caught:
          while waiting and len(active) < self._jobs:
            active.append(_start(*waiting.popleft(), lock))
          time.sleep(_PERIOD)
          ended = [one for one in active if one.process.poll() is not None]
          for one in ended:
            active.remove(one)
            if caught:
              continue
            if one.process.returncode == 0 and one.rest:
              active.append(_start(one.job, one.rest, lock, one.start))
            else:
              self._end(one)
        if caught:
          _stop(active)
          raise interrupts.Interrupted(
            f'Stopped. {self._left} of {self._total} runs are left; what they '
            f'did is saved in {self._root}. Run the same command again to go '
            'on.',
            caught[0],
          )
    finally:
      for one in active:  # Only if something unexpected was raised.
        if one.process.poll() is None:
          one.process.kill()

  def skip(self, count: int) -> None:
    """So many jobs will not come after all."""
    self._left -= count

  def _end(self, one: _Active) -> None:
    """Says how a job ended."""
    code, run = one.process.returncode, one.job.run
    self._left -= 1
    count = f'[{self._total - self._left}/{self._total}] {run.name}'
    if code != 0:
      why = f'{one.command.kind} {_says(code)}: {_last_line(one.command)}'
      self.failed[run.name] = why
      say(f'{count}: FAILED. {why}', f'  See {log_file(one.command)}')
      return
    took = time.monotonic() - one.start
    self._seconds.append(took)
    say(f'{count}: done in {duration(took)}; {self._forecast()}')

  def _forecast(self) -> str:
    mean = sum(self._seconds) / len(self._seconds)
    left = mean * self._left / min(self._jobs, max(self._left, 1))
    so_far = duration(time.monotonic() - self._began)
    return f'{so_far} so far, about {duration(left)} left'


def _start(
  job: Job,
  commands: Sequence[Command],
  lock: int | None,
  start: float | None = None,
) -> _Active:
  command, *rest = commands
  path = log_file(command)
  path.parent.mkdir(parents=True, exist_ok=True)
  say(f'  {job.run.name}: {command.kind}; log: {path}')
  with path.open('a') as log:
    log.write(f'$ {command.line()}\n')
    log.flush()
    process = subprocess.Popen(
      command.words(),
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      # Ctrl-C reaches the sweep alone, which passes it on once: a second
      # signal would end a run before it has saved.
      start_new_session=True,
      pass_fds=() if lock is None else (lock,),
    )
  return _Active(job, command, rest, process, start or time.monotonic())


def _stop(active: Sequence[_Active]) -> None:
  """Has processes save and end, or end at once if asked again."""
  for one in active:
    one.process.terminate()
  try:
    for one in active:
      one.process.wait()
  except KeyboardInterrupt:
    for one in active:
      one.process.kill()
      one.process.wait()


def log_file(command: Command) -> pathlib.Path:
  """What a command prints; beside what it writes."""
  folder = pathlib.Path(command.output)
  if command.kind != TRAIN:
    folder = folder.parent
  return folder / f'{command.kind}.log'


@contextlib.contextmanager
def locked(root: str) -> Iterator[int]:
  """Holds a sweep's folder, so that no two processes write to one run.

  The processes of the runs inherit the lock. It is then also held by what a
  sweep left behind that was killed, which is waited for.

  Raises:
    UserError: if another sweep is at it.
  """
  path = pathlib.Path(root) / _LOCK
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('a+') as file:
    is_waiting = False
    while not _take(file.fileno()):
      owner = _owner(path)
      if owner is not None and _is_alive(owner):
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
      time.sleep(_PERIOD)
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
  text = path.read_text()
  return int(text) if text.isdigit() else None


def _is_alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  return True


def _says(code: int) -> str:
  if code >= 0:
    return f'ended with code {code}'
  name = signal.Signals(-code).name
  return f'was ended by {name}' + (
    ' (out of memory?)' if name == 'SIGKILL' else ''
  )


def _last_line(command: Command) -> str:
  """The error that a command printed, or its last line."""
  lines = [
    line.strip()
    for line in log_file(command).read_text(errors='replace').splitlines()
    if line.strip()
  ]
  errors = [line for line in lines[-20:] if line.startswith('error: ')]
  return (errors or lines)[-1].removeprefix('error: ')
