"""`python -m moe_lite.convert`: its verbs, its help, and mistakes."""

import pytest

from moe_lite.convert import command
from moe_lite.process import cli
from tests import tiny


@pytest.mark.parametrize('verb', command.VERBS)
def test_the_help_shows_every_verb(verb, capsys):
  assert command.main(['convert', '--help']) == 0
  usage = f'\n  python -m moe_lite.convert {verb} '
  assert usage in capsys.readouterr().out


@pytest.mark.parametrize(
  'arguments, says',
  [
    ([], "'' is not a conversion; give one of inspect, export"),
    (['exprot'], "Did you mean 'export'"),
    (['inspect'], 'Give one path'),
    (['inspect', 'a', 'b'], 'Give one path'),
    (['export', 'run'], 'Give one folder and --to=DIR'),
    (['export', 'run', '--to=x', '--stepp=3'], "Unknown command line flag 's"),
    (['export', 'run', '--to=x', '--step=three'], '--step=three'),
    (['export_base', 'mini', '--to=x', '--dtype=int8'], '--dtype=int8'),
    (['export_base', 'mini', '--to=x', '--step=3'], 'is of a run, and'),
  ],
)
def test_mistakes_end_with_code_2(
  arguments, says, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  assert command.main(['convert', *arguments]) == 2
  assert says in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_what_lies_there_is_printed(tmp_path, capsys):
  folder = tiny.save_base(tmp_path / 'base')
  argv = ['convert', 'inspect', folder]
  assert cli.guard(command.convert, argv, None) == 0
  assert f'{folder}: base\n  seed: 0\n' in capsys.readouterr().out
