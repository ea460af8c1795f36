"""Commands, where a file in the working folder hides what they need.

`python -m` looks there first. The cases run in one process of their own, which
forgets after each what it imported.
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys

import pytest

from tests.paths import ROOT

COMMANDS = (
  *('train', 'eval', 'infer', 'report'),
  *('sweep', 'convert', 'preflight', 'routing_report'),
)
# A file in the working folder, to what hides a package there, and the package.
HIDING = {
  'tasks.py': ('tasks.py', 'tasks'),
  'tasks/__init__.py': ('tasks', 'tasks'),
  # Python takes a folder without an __init__ for a package, too.
  'tasks/mine.py': ('tasks', 'tasks'),
  'gin/__init__.py': ('gin', 'gin'),
  'gin.py': ('gin.py', 'gin'),
  'seqio.py': ('seqio.py', 'seqio'),
}
HARMLESS = ('gin/mine.gin', 'numpy/mine.npy', 'train.py', 'models/__init__.py')


def run(command):
  """The exit code of `python -m moe_lite.command`, and what it prints."""
  printed = io.StringIO()
  known = set(sys.modules)
  streams = (
    contextlib.redirect_stderr(printed),
    contextlib.redirect_stdout(printed),
  )
  try:
    with streams[0], streams[1]:
      runpy.run_module(f'moe_lite.{command}', run_name='__main__')
  except SystemExit as end:
    return end.code, printed.getvalue()
  finally:
    for name in sys.modules.keys() - known:
      del sys.modules[name]
  return 0, printed.getvalue()


def stand_in(folder):
  """Makes a folder the one that Python was started in."""
  os.chdir(folder)
  sys.path[0] = str(folder)
  importlib.invalidate_caches()


def measure(folder):
  """Runs every command in every folder that hides something.

  Returns:
    File to command to exit code and output.

  Raises:
    UserError: if a harmless folder is refused.
  """
  found = {}
  for file in (*HIDING, *HARMLESS):
    path = folder / file.replace('/', '_') / file
    path.parent.mkdir(parents=True)
    path.write_text('')
    if file in HIDING:
      stand_in(path.parents[len(pathlib.Path(file).parts) - 1])
      found[file] = {command: run(command) for command in COMMANDS}
  from moe_lite.process import start

  checkout = [ROOT, *(folder / file.replace('/', '_') for file in HARMLESS)]
  for place in checkout:
    stand_in(place)
    start.check_not_hidden(str(place))
  return found


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
  """Folder, and what `measure` found in it."""
  folder = tmp_path_factory.mktemp('folders')
  done = subprocess.run(
    [sys.executable, '-m', 'tests.process.start_test', str(folder)],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('file', HIDING)
def test_what_hides_a_package_is_named(measured, file, command):
  folder, found = measured
  code, printed = found[file][command]
  (line,) = printed.splitlines()
  hides, package = HIDING[file]
  path = folder / file.replace('/', '_') / hides
  assert line.startswith(f'error: {path} hides the package `{package}`, ')
  assert 'Rename it, or run the command in another folder.' in line
  assert code == 2


def test_python_itself_is_told(tmp_path):
  """As a user starts it."""
  (tmp_path / 'tasks.py').write_text('raise ZeroDivisionError')
  done = subprocess.run(
    [sys.executable, '-m', 'moe_lite.eval', '--gin_file=runs/eval.gin'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2 and not done.stdout
  assert done.stderr.startswith(f'error: {tmp_path / "tasks.py"} hides ')
  assert done.stderr.count('\n') == 1


if __name__ == '__main__':
  print(json.dumps(measure(pathlib.Path(sys.argv[1]))))
