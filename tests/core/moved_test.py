"""Modules by the names that they had before the package got its folders."""

import importlib
import importlib.util
import subprocess
import sys

import gin
import pytest

from moe_lite.core import moved
from moe_lite.core.errors import UserError
from moe_lite.process import cli, gin_paths
from tests.paths import ROOT

INTERNAL = sorted(moved.MOVED.keys() - moved.PUBLIC)
PUBLIC = sorted(moved.PUBLIC)


@pytest.fixture(autouse=True)
def empty_config():
  yield
  gin.clear_config()


def is_module(name):
  path = ROOT / name.replace('.', '/')
  return path.with_suffix('.py').is_file() or path.is_dir()


@pytest.mark.parametrize('old', moved.MOVED)
def test_an_old_name_leads_to_a_module(old):
  assert is_module(moved.MOVED[old])
  assert not is_module(old), f'{old} is a module of today.'


def test_public_names_are_among_those_that_moved():
  assert moved.PUBLIC <= moved.MOVED.keys()


@pytest.mark.parametrize('old', PUBLIC)
def test_a_public_module_is_the_same_under_both_names(old):
  new = moved.MOVED[old]
  known = importlib.import_module(new)
  assert importlib.import_module(old) is known
  # Nor does the module forget where it is.
  assert known.__name__ == known.__spec__.name == new


@pytest.mark.parametrize('old', PUBLIC)
def test_python_runs_a_public_module_by_its_old_name(old, monkeypatch):
  # `python -m` looks for a module that nothing has imported before.
  monkeypatch.delitem(sys.modules, old, raising=False)
  code = importlib.util.find_spec(old).loader.get_code(old)
  known = importlib.util.find_spec(moved.MOVED[old])
  assert code == known.loader.get_code(known.name)


def test_a_command_has_its_old_name():
  done = subprocess.run(
    [sys.executable, '-m', 'moe_lite.gin_paths'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(gin_paths.folder())


@pytest.mark.parametrize('old', INTERNAL)
def test_another_module_says_where_it_went(old):
  with pytest.raises(moved.MovedError) as error:
    importlib.import_module(old)
  assert isinstance(error.value, UserError)
  # Python imports a folder before what is in it.
  parent = old.rpartition('.')[0]
  said = [f'{x} is now {moved.MOVED.get(x)}. ' for x in (old, parent)]
  assert str(error.value).startswith(tuple(said))


def test_it_is_said_how_to_import_it():
  with pytest.raises(ImportError) as error:
    from moe_lite import train_step  # noqa: F401  no longer there
  assert str(error.value) == (
    'moe_lite.train_step is now moe_lite.training.train_step. Write '
    '`from moe_lite.training import train_step`.'
  )


def test_a_gin_file_names_public_modules_as_before(tmp_path):
  file = tmp_path / 'mine.gin'
  file.write_text(
    'from __gin__ import dynamic_registration\n'
    'from moe_lite import decoding\n'
    'from moe_lite import optimizers\n'
    'from moe_lite import sweeps\n'
    'import moe_lite.partitioning\n'
    'decoding.beam_search.num_decodes = 3\n'
    'optimizers.constant.learning_rate = 0.5\n'
    'sweeps.Grid.frozen = True\n'
  )
  gin.parse_config_file(str(file))
  from moe_lite.models import decoding
  from moe_lite.sweep import Grid

  assert gin.get_bindings(decoding.beam_search) == {'num_decodes': 3}
  assert gin.get_bindings(Grid) == {'frozen': True}


def test_a_gin_file_that_names_another_ends_with_one_message(tmp_path, capsys):
  file = tmp_path / 'mine.gin'
  file.write_text(
    'from __gin__ import dynamic_registration\n'
    'from moe_lite import train_step\n'
  )
  argv = ['train', f'--gin_file={file}']
  assert cli.main('training.train', 'runs/finetune.gin', argv) == 2
  line, where, _ = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ') and str(file) in where
  assert 'Write `from moe_lite.training import train_step`' in line
