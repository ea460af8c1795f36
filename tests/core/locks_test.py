"""A folder has one owner at a time, whatever file system it lies on."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from etils import epath

from moe_lite.core import locks
from moe_lite.core.errors import UserError
from tests.paths import ROOT

OWNER = """
import sys, time
from moe_lite.core import locks
with locks.owned(sys.argv[1], 'MODEL_DIR', 'A training'):
  print('owned', flush=True)
  time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
  """A process that owns the folder `run`."""
  process = subprocess.Popen(
    [sys.executable, '-c', OWNER, str(tmp_path / 'run')],
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  assert process.stdout.readline() == 'owned\n'
  yield process
  process.kill()
  process.communicate()


def own(folder):
  return locks.owned(str(folder), 'MODEL_DIR', 'An evaluation')


def test_the_second_is_told_who_the_first_is(owner, tmp_path):
  start = time.monotonic()
  with (
    pytest.raises(UserError, match='is in use. A training') as error,
    own(tmp_path / 'run'),
  ):
    pass
  assert time.monotonic() - start < 5
  assert f'process {owner.pid}' in str(error.value)
  assert os.uname().nodename in str(error.value)
  assert 'since 20' in str(error.value) and '.lock' in str(error.value)
  # The first is unharmed.
  said = json.loads((tmp_path / 'run' / locks.NAME).read_text())
  assert said['process'] == owner.pid


def test_a_killed_owner_leaves_nothing_in_the_way(owner, tmp_path):
  owner.send_signal(signal.SIGKILL)
  owner.wait()
  with own(tmp_path / 'run'):
    pass
  assert not (tmp_path / 'run' / locks.NAME).exists()


def test_a_dead_one_is_broken_by_removing_its_file(owner, tmp_path):
  (tmp_path / 'run' / locks.NAME).unlink()
  with own(tmp_path / 'run'):
    said = json.loads((tmp_path / 'run' / locks.NAME).read_text())
    assert said['process'] == os.getpid()


def test_nothing_is_left_behind(tmp_path):
  with own(tmp_path / 'new' / 'run'):
    pass
  assert not (tmp_path / 'new' / 'run').exists()
  with own(tmp_path / 'run'):
    (tmp_path / 'run' / 'file').write_text('')
  assert [p.name for p in (tmp_path / 'run').iterdir()] == ['file']


@pytest.mark.parametrize('given', ['', ' ', 5, None])
def test_what_is_no_path_is_refused(given):
  with (
    pytest.raises(UserError, match='MODEL_DIR = .* must be the path'),
    locks.owned(given, 'MODEL_DIR', 'A training'),
  ):
    pass


def test_a_file_and_a_place_without_room_are_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  for path, says in (
    (tmp_path / 'file', 'is a file'),
    (tmp_path / 'file' / 'deeper', 'cannot be written'),
    (pathlib.Path('/proc/none'), 'cannot be written'),
  ):
    with pytest.raises(UserError, match=says), own(path):
      pass


@pytest.fixture
def without_locks(monkeypatch):
  def refuse(*args):
    raise OSError(95, 'Operation not supported')

  monkeypatch.setattr(locks.fcntl, 'flock', refuse)
  monkeypatch.setattr(locks, 'PERIOD', 0.05)
  monkeypatch.setattr(locks, 'PATIENCE', 0.3)


def test_without_locks_a_living_owner_is_seen(without_locks, tmp_path):
  with own(tmp_path):
    time.sleep(0.1)
    with pytest.raises(UserError, match='is in use'), own(tmp_path):
      pass
  assert not list(tmp_path.iterdir())


def test_without_locks_a_dead_owner_is_passed(without_locks, tmp_path, capsys):
  (tmp_path / locks.NAME).write_text('{"process": 7, "host": "gone"}')
  with own(tmp_path):
    pass
  assert 'to see if it is alive' in capsys.readouterr().err


class Gone(Exception):
  """What a kind of bucket may raise for an object that is missing."""


def test_a_bucket_may_have_errors_of_its_own(
  without_locks, tmp_path, monkeypatch
):
  def refuse(self, *args, **kwargs):
    raise Gone

  kind = type(epath.Path(tmp_path))
  with monkeypatch.context() as patch:
    for name in ('read_text', 'write_text', 'unlink'):
      patch.setattr(kind, name, refuse)
    with own(tmp_path):
      time.sleep(0.1)
