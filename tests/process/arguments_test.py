"""Arguments of verbs: what is read is never what is replaced."""

import pytest

from moe_lite.checkpoints import bases, formats
from moe_lite.convert import command
from moe_lite.process import cli
from tests import tiny
from tests.checkpoints.hugging_face import written_files as made


def test_it_is_refused_before_anything_is_read(tmp_path, monkeypatch):
  monkeypatch.setattr(formats, 'find', None)
  argv = ['convert', 'export_base', 'mini', f'--to={tmp_path}']
  assert cli.guard(command.convert, argv, None) == 2


@pytest.mark.parametrize('verb', ['import_peft', 'export_peft'])
def test_a_base_that_is_read_is_not_replaced(
  tmp_path, monkeypatch, capsys, verb
):
  monkeypatch.chdir(tmp_path)
  made.write(tmp_path / 'base', made.state('1.1'))
  argv = ['convert', verb, 'x', '--to=base', '--base=base', '--overwrite']
  assert cli.guard(command.convert, argv, None) == 2
  assert 'is what is read, or holds it' in capsys.readouterr().err
  assert bases.read('base')


@pytest.mark.parametrize('target', ['base', '.', 'base/../base'])
def test_what_is_read_is_not_replaced(tmp_path, monkeypatch, capsys, target):
  monkeypatch.chdir(tmp_path)
  tiny.save_base('base')
  argv = ['convert', 'export_base', 'base', f'--to={target}', '--overwrite']
  assert cli.guard(command.convert, argv, None) == 2
  assert 'is what is read, or holds it' in capsys.readouterr().err
  assert bases.read('base')
