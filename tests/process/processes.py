"""Starts the processes of one run on this machine, for tests, and ends them."""

import dataclasses
import os
import pathlib
import socket
import subprocess
import sys
import time

from tests.devices import device_flags
from tests.paths import ROOT


@dataclasses.dataclass
class Ended:
  """How a process ended: its exit code, and what it wrote to stderr."""

  code: int
  error: str


class Processes:
  """The processes of one command; all are gone when its context is left."""

  def __init__(
    self,
    folder: pathlib.Path,
    arguments: list[str],
    count: int = 2,
    devices: int = 1,
    module: str = 'moe_lite.train',
    port: int | None = None,
    only: dict[int, list[str]] | None = None,
  ):
    """Args, beside those of the command:

    folder: for what the processes print.
    count: of processes; with 1 there is no distributed runtime.
    devices: of each process.
    port: of process 0, where it is not a free one.
    only: starts these processes alone, with these arguments added.
    """
    port = port or free_port()
    environment = {
      **os.environ,
      'PYTHONPATH': str(ROOT),
      'JAX_PLATFORMS': 'cpu',
      # Loopback alone.
      'JAX_COORDINATOR_BIND_ADDRESS': f'127.0.0.1:{port}',
      'XLA_FLAGS': device_flags(devices),
    }
    # Several processes would write there at a time.
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    folder.mkdir(parents=True, exist_ok=True)
    self.start = time.monotonic()
    self._files, self.running = [], {}
    for index in range(count) if only is None else only:
      joining = [
        f'--coordinator_address=127.0.0.1:{port}',
        f'--process_count={count}',
        f'--process_index={index}',
      ]
      command = [
        *(sys.executable, '-m', module, *arguments),
        *(joining if count > 1 else []),
        *((only or {}).get(index, [])),
      ]
      self._files.append((folder / f'{index}.err').open('w+'))
      self.running[index] = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=self._files[-1],
      )

  def __enter__(self) -> 'Processes':
    return self

  def __exit__(self, *error: object) -> None:
    for process in self.running.values():
      if process.poll() is None:
        process.kill()
      process.wait()
    for file in self._files:
      file.close()

  def wait(self, seconds: float) -> list[Ended]:
    """Until all have ended, or TimeoutExpired after so many seconds."""
    deadline = time.monotonic() + seconds
    ended = []
    for process, file in zip(self.running.values(), self._files, strict=True):
      try:
        process.wait(max(deadline - time.monotonic(), 0.1))
      except subprocess.TimeoutExpired as error:
        error.add_note('\n'.join(self.errors()))
        raise
      file.seek(0)
      ended.append(Ended(process.returncode, file.read()))
    return ended

  def wait_for(self, path: pathlib.Path, lines: int = 0) -> None:
    """Until a file is there, with so many lines at least."""
    while not (path.exists() and path.read_text().count('\n') >= lines):
      stopped = [p for p in self.running.values() if p.poll() is not None]
      assert not stopped, '\n'.join(self.errors())
      time.sleep(0.05)

  def errors(self) -> list[str]:
    return [pathlib.Path(file.name).read_text() for file in self._files]


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def succeed(*arguments, seconds: float = 300, **options) -> list[Ended]:
  """Runs processes to their end, which must be a success."""
  with Processes(*arguments, **options) as processes:
    ended = processes.wait(seconds)
  assert [e.code for e in ended] == [0] * len(ended), ended
  return ended
