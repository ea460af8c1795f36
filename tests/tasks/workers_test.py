"""Processes that write caches, when they or their parent are killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tasks import cached
from tests.tasks import caches

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


@pytest.fixture
def start(tasks_to_cache, tmp_path):
  """Starts the command with two workers, in a session as of a terminal."""

  def start():
    return subprocess.Popen(
      [
        *(
          sys.executable,
          '-m',
          'tasks.cache',
          f'--module_import={caches.MODULE}',
        ),
        '--tasks=cache_unordered,cache_slow',
        *(f'--out={tmp_path}', '--workers=2', '--num_shards=3'),
      ],
      env={**os.environ, 'PYTHONPATH': str(tasks_to_cache)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )

  return start


@pytest.fixture
def waiting(tasks_to_cache, tmp_path):
  """Has workers wait in the second task; finds the process of one."""
  (tasks_to_cache / 'wait').touch()
  file = tasks_to_cache / 'waiting'
  for left in (file, *tasks_to_cache.glob('worker-*')):
    left.unlink(missing_ok=True)

  def waiting(command):
    while not (
      cached.is_complete(tmp_path / 'cache_unordered')
      and file.exists()
      and file.read_text()
    ):
      assert command.poll() is None, command.communicate()[0]
      time.sleep(0.1)
    return int(file.read_text())

  yield waiting
  (tasks_to_cache / 'wait').unlink(missing_ok=True)


@pytest.mark.slow
def test_a_killed_worker_ends_the_command_which_then_goes_on(
  tasks_to_cache, start, waiting, tmp_path
):
  command = start()
  os.kill(waiting(command), signal.SIGKILL)
  text = command.communicate(timeout=60)[0]
  assert command.returncode == 2, text
  assert 'cache_slow' in text and '--workers' in text
  assert 'Traceback' not in text
  words = [
    row['inputs']
    for row in caches.read_rows('cache_unordered', 'train', tmp_path)
  ]
  assert len(words) == len(set(map(repr, words))) == 50

  (tasks_to_cache / 'wait').unlink()
  command = start()
  text = command.communicate()[0]
  assert command.returncode == 0, text
  assert '1 of 2 tasks' in text
  assert len(caches.read_rows('cache_slow', 'train', tmp_path)) == 4


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(start, waiting, number):
  command = start()
  worker = waiting(command)
  if number == signal.SIGINT:  # Ctrl-C reaches all processes of a terminal.
    os.killpg(command.pid, number)
  else:
    command.send_signal(number)
  text = command.communicate(timeout=60)[0]
  if number == signal.SIGINT:
    assert command.returncode == 130, text
    assert 'same command' in text
  assert 'Traceback' not in text
  with pytest.raises(ProcessLookupError):
    while True:
      os.kill(worker, 0)
      time.sleep(0.1)
