"""Folders that appear whole, and replace nothing of anybody's."""

import os
import subprocess
import sys

import pytest
from etils import epath

from moe_lite.convert import command
from moe_lite.core import files
from moe_lite.core.errors import UserError
from moe_lite.process import cli
from tests import tiny
from tests.paths import ROOT


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def write(target, text, overwrite=False):
  with files.new(str(target), overwrite) as folder:
    (folder / 'metadata.json').write_text(text)


def test_it_is_replaced_when_the_new_one_is_whole(tmp_path):
  write(tmp_path / 'x', 'old')
  with pytest.raises(UserError, match='give --overwrite'):
    write(tmp_path / 'x', 'new')
  with (
    pytest.raises(RuntimeError),
    files.new(str(tmp_path / 'x'), True) as folder,
  ):
    (folder / 'metadata.json').write_text('half')
    raise RuntimeError
  assert (tmp_path / 'x' / 'metadata.json').read_text() == 'old'
  write(tmp_path / 'x', 'new', overwrite=True)
  assert (tmp_path / 'x' / 'metadata.json').read_text() == 'new'
  assert names(tmp_path) == ['x']


def test_what_lies_beside_it_stays(tmp_path):
  for name in ('x.partial', 'x.old'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'notes').write_text('precious')
  write(tmp_path / 'x', 'old')
  write(tmp_path / 'x', 'new', overwrite=True)
  assert names(tmp_path) == ['x', 'x.old', 'x.partial']
  assert (tmp_path / 'x.old' / 'notes').exists()


def test_somebody_elses_folder_is_never_replaced(tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  (tmp_path / 'main.py').write_text('')
  with pytest.raises(UserError, match='holds main.py'):
    write(tmp_path, 'new', overwrite=True)
  with pytest.raises(UserError, match='is a file'):
    write(tmp_path / 'main.py', 'new', overwrite=True)
  with pytest.raises(UserError, match='cannot be written'):
    write(tmp_path / 'main.py' / 'x', 'new')


def test_a_swap_that_fails_gives_the_old_one_back(tmp_path, monkeypatch):
  write(tmp_path / 'x', 'old')
  rename = type(epath.Path('x')).rename

  def fail(path, target):
    if '.partial-' in path.name:
      raise OSError('the disk is full')
    return rename(path, target)

  monkeypatch.setattr(type(epath.Path('x')), 'rename', fail)
  with pytest.raises(UserError, match='the disk is full.*partial-'):
    write(tmp_path / 'x', 'new', overwrite=True)
  assert (tmp_path / 'x' / 'metadata.json').read_text() == 'old'


def test_a_link_is_never_replaced(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  tiny.save_base('base')
  (tmp_path / 'link').symlink_to('base')
  with pytest.raises(UserError, match='is a link'):
    write(tmp_path / 'link', 'new', overwrite=True)
  argv = ['convert', 'export_base', 'link', '--to=base', '--overwrite']
  assert cli.guard(command.convert, argv, None) == 2
  assert 'is what is read, or holds it' in capsys.readouterr().err


KILLED = """
import os, signal, sys
from moe_lite.core import files
with files.new(sys.argv[1], True) as folder:
  (folder / 'metadata.json').write_text('half')
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(tmp_path):
  write(tmp_path / 'x', 'old')
  (tmp_path / 'x.partial-of-another').mkdir()
  subprocess.run(
    [sys.executable, '-c', KILLED, str(tmp_path / 'x')],
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  assert len(names(tmp_path)) == 3
  write(tmp_path / 'x', 'new', overwrite=True)
  assert names(tmp_path) == ['x', 'x.partial-of-another']
  # As if it had been killed between two renamings.
  subprocess.run(
    [sys.executable, '-c', KILLED, str(tmp_path / 'x')],
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )
  (partial,) = tmp_path.glob('x.partial-*-*-*')
  (tmp_path / 'x').rename(tmp_path / partial.name.replace('.partial-', '.old-'))
  with pytest.raises(UserError, match='exists already'):
    write(tmp_path / 'x', 'newer')
  assert (tmp_path / 'x' / 'metadata.json').read_text() == 'new'
