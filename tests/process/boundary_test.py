"""What a message says of errors that are not this package's fault."""

import errno
import json
import os
import subprocess
import sys

import pytest

from moe_lite.core import tables
from moe_lite.core.errors import UserError
from moe_lite.process import boundary, cli
from tests.paths import ROOT


def caught(function, *args):
  try:
    function(*args)
  except Exception as error:
    return boundary.explain(error)
  raise AssertionError('Nothing was raised.')


@pytest.fixture
def theirs(tmp_path, monkeypatch):
  """A module of the user's."""
  (tmp_path / 'their_tasks.py').write_text(
    'def look(row):\n  return row["question"]\n'
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  import their_tasks

  yield their_tasks
  del sys.modules['their_tasks']


def test_code_of_the_user_s_is_named_by_its_line(theirs):
  said = str(caught(theirs.look, {}))
  assert 'their_tasks.py, line 2, `return row["question"]`, raised' in said
  assert "KeyError: 'question'" in said


def test_code_that_tensorflow_traced_is_named_too(theirs):
  import tensorflow as tf

  rows = tf.data.Dataset.from_tensors({'answer': 1})
  said = str(caught(rows.map, theirs.look))
  assert 'their_tasks.py, line 2' in said and 'question' in said


def test_a_fault_of_ours_stays_one(theirs):
  try:
    tables.table(('a',), [1])
  except TypeError as error:
    assert boundary.explain(error) is None
  # What a library raises on our behalf is ours as well.
  assert boundary.in_user_code(ZeroDivisionError()) is None


@pytest.mark.parametrize(
  'error, says',
  [
    (OSError(errno.ENOSPC, 'No space left on device', '/x'), 'Make room'),
    (PermissionError(errno.EACCES, 'Permission denied', '/x/y'), '/x/y: Perm'),
    (UnicodeDecodeError('utf-8', b'a\xff', 1, 2, 'invalid'), 'byte 0xff'),
    (MemoryError(), 'memory of this machine'),
    (RuntimeError('RESOURCE_EXHAUSTED: 5 GB'), 'memory of the device'),
    (json.JSONDecodeError('Expecting value', '{', 1), 'is not JSON'),
  ],
)
def test_what_the_machine_and_its_files_raise(error, says):
  assert says in str(boundary.explain(error))
  assert isinstance(boundary.explain(error), UserError)


def test_a_fault_of_ours_ends_with_1_and_asks_for_a_report(capsys):
  assert cli.guard(lambda argv: tables.table(('a',), [1]), ['x'], '') == 1
  error = capsys.readouterr().err
  assert 'Traceback' in error and error.strip().endswith('lines above.')


def test_a_broken_pipe_elsewhere_is_told(capfd):
  read, write = os.pipe()
  os.close(read)
  with open(write, 'wb', buffering=0) as pipe:
    assert cli.guard(lambda argv: pipe.write(b'x'), ['x'], '') == 2
  assert 'Broken pipe' in capfd.readouterr().err


def test_a_broken_pipe_is_silent(tmp_path):
  code = (
    'import sys\nfrom moe_lite.process import cli\n'
    'sys.exit(cli.guard(lambda argv: print("x" * 10**6, flush=True), ["x"], 0))'
  )
  read, write = os.pipe()
  os.close(read)
  done = subprocess.run(
    [sys.executable, '-c', code],
    stdout=write,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  os.close(write)
  assert done.returncode == 141 and not done.stderr
