"""The list of commands names all of them, and is what `-m moe_lite` prints."""

import runpy
import sys

import pytest

from moe_lite.process import gin_paths, macro_defaults
from moe_lite.process.commands import COMMANDS
from tests import house_test


def run(monkeypatch, capsys, *arguments):
  monkeypatch.setattr(sys, 'argv', ['moe_lite', *arguments])
  with pytest.raises(SystemExit) as end:
    runpy.run_module('moe_lite', run_name='__main__')
  return end.value.code, capsys.readouterr()


def test_every_command_is_listed():
  names = {x.name.removeprefix('moe_lite.') for x in COMMANDS}
  assert names >= set(house_test.COMMANDS)


def test_each_has_a_line(monkeypatch, capsys):
  code, printed = run(monkeypatch, capsys)
  assert code == 0
  lines = printed.out.splitlines()
  for command in COMMANDS:
    (line,) = [x for x in lines if x.split()[:1] == [command.name]]
    assert line.endswith(command.purpose)
  folder = str(gin_paths.folder())
  assert max(len(x) for x in lines if folder not in x) <= 80
  assert run(monkeypatch, capsys, '--help') == (code, printed)


def test_a_command_is_a_module(monkeypatch, capsys):
  code, printed = run(monkeypatch, capsys, 'train', '--gin_file=x')
  assert code == 2 and 'Type python -m moe_lite.train.' in printed.err
  code, printed = run(monkeypatch, capsys, 'tain')
  assert code == 2 and "Did you mean 'train'" in printed.err


def test_all_patterns_find_files():
  for command in COMMANDS:
    for pattern in command.reads:
      assert macro_defaults.find([pattern]), (command.name, pattern)
