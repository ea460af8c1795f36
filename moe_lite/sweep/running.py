"""Runs what is missing of a plan, as processes of this machine."""

import collections
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from moe_lite.core.progress import duration, say
from moe_lite.process import interrupts
from moe_lite.sweep.expansion import Command
from moe_lite.sweep.jobs import Job, log_file


@dataclasses.dataclass(frozen=True)
class Processes:
  """How the processes of a sweep run.

  Attributes:
    at_once: the number of runs at a time.
    python: the words of a command before the name of its module.
    period: the seconds between two looks at the processes.
  """

  at_once: int = 1
  python: tuple[str, ...] = (sys.executable, '-m')
  period: float = 0.1


@dataclasses.dataclass
class _Active:
  """A command that runs, and those of its job that follow."""

  job: Job
  command: Command
  rest: list[Command]
  process: subprocess.Popen
  start: float


class Runner:
  """Runs jobs, some at a time, and counts them over all calls.

  Attributes:
    failed: why runs failed, by their names.
  """

  def __init__(
    self,
    root: str,
    total: int,
    processes: Processes,
    after: Callable[[Mapping[str, str]], None] = lambda failed: None,
  ):
    """Begins to count.

    Args:
      root: the folder of the sweep, for messages.
      total: how many jobs will probably come.
      processes: how they run.
      after: is called with `failed` when a run has ended, and when all of them
        are stopped.
    """
    self.failed: dict[str, str] = {}
    self._root = root
    self._processes = processes
    self._after = after
    self._left = total
    self._total = total
    self._seconds: list[float] = []
    self._began = time.monotonic()

  def run(self, jobs: Sequence[Job], lock: int | None = None) -> None:
    """Runs what is missing of the jobs.

    Args:
      jobs: the jobs, in the order in which they begin.
      lock: a file that the processes hold open, too; see `locking.locked`.

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
          while waiting and len(active) < self._processes.at_once:
            active.append(self._start(*waiting.popleft(), lock))
          time.sleep(self._processes.period)
          ended = [one for one in active if one.process.poll() is not None]
          for one in ended:
            active.remove(one)
            if caught:
              continue
            if one.process.returncode == 0 and one.rest:
              active.append(self._start(one.job, one.rest, lock, one.start))
            else:
              self._end(one)
              self._after(self.failed)
        if caught:
          _stop(active)
          self._after(self.failed)
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
    """Takes so many jobs off the total, because they will not come."""
    self._left -= count

  def _start(
    self,
    job: Job,
    commands: Sequence[Command],
    lock: int | None,
    start: float | None = None,
  ) -> _Active:
    """Starts the first command of a job.

    Args:
      job: the job.
      commands: its commands that are not done.
      lock: see `run`.
      start: when the job began, if an earlier command of it ran.
    """
    command, *rest = commands
    path = log_file(command)
    path.parent.mkdir(parents=True, exist_ok=True)
    say(f'  {job.run.name}: {command.kind}; log: {path}')
    with path.open('a') as log:
      log.write(f'$ {command.line()}\n')
      log.flush()
      process = subprocess.Popen(
        [*self._processes.python, command.module, *command.flags],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # Ctrl-C reaches the sweep alone, which passes it on once: a second
        # signal would end a run before it has saved.
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
      )
    return _Active(job, command, rest, process, start or time.monotonic())

  def _end(self, one: _Active) -> None:
    """Says how a job ended."""
    code, run = one.process.returncode, one.job.run
    self._left -= 1
    count = f'[{self._total - self._left}/{self._total}] {run.name}'
    if code != 0:
      why = f'{one.command.kind} {_ending(code)}: {_last_line(one.command)}'
      self.failed[run.name] = why
      say(f'{count}: FAILED. {why}', f'  See {log_file(one.command)}')
      return
    took = time.monotonic() - one.start
    self._seconds.append(took)
    say(f'{count}: done in {duration(took)}; {self._forecast()}')

  def _forecast(self) -> str:
    mean = sum(self._seconds) / len(self._seconds)
    left = mean * self._left / min(self._processes.at_once, max(self._left, 1))
    so_far = duration(time.monotonic() - self._began)
    return f'{so_far} so far, about {duration(left)} left'


def _stop(active: Sequence[_Active]) -> None:
  """Has the processes save and end, or end at once if asked again."""
  for one in active:
    one.process.terminate()
  try:
    for one in active:
      one.process.wait()
  except KeyboardInterrupt:
    for one in active:
      one.process.kill()
      one.process.wait()


def _ending(code: int) -> str:
  """How a process ended that gave this code."""
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
