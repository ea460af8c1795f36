"""What others wrote is what it was when it was used first."""

import json

import numpy as np
import pytest

from moe_lite.checkpoints import bases, first_use
from moe_lite.convert import command
from moe_lite.core.errors import Damaged
from moe_lite.process import cli
from tests.checkpoints.hugging_face import written_files


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache' / 'moe_lite' / 'fingerprints.json'


def test_it_is_remembered_and_compared(record, tmp_path):
  path = str(tmp_path / 'x')
  assert 'for the first time' in first_use.check(path, 'a', {'n': 1})
  assert 'the same as at its first use' in first_use.check(path, 'a', {'n': 1})
  for fingerprint, says, message in (
    ('b', {'n': 1}, 'its fingerprint was a and is b'),
    ('a', {'n': 2}, 'what it says of its network or its texts has changed'),
  ):
    with pytest.raises(Damaged, match=message):
      first_use.check(path, fingerprint, says)
  first_use.check(path, 'b', accept=True)
  first_use.check(path, 'b')
  assert list(json.loads(record.read_text())) == [path]


@pytest.mark.parametrize('contents', ['', '[]', '{"x": 1}', '{"x": {}}'])
def test_a_damaged_record_is_begun_anew(record, contents, capsys):
  record.parent.mkdir(parents=True)
  record.write_text(contents)
  assert 'for the first time' in first_use.check('/x', 'a')
  assert 'is begun anew' in capsys.readouterr().err
  assert 'the same' in first_use.check('/x', 'a')


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  assert 'cannot be written' in first_use.check('/x', 'a')


def test_inspect_verifies_and_accepts(tmp_path, capsys):
  folder, leaves = tmp_path / 'theirs', written_files.state('1.1')
  written_files.write(folder, leaves)

  def inspect(*flags):
    code = cli.guard(command.convert, ['x', 'inspect', str(folder), *flags], '')
    out, error = capsys.readouterr()
    return code, out + error

  assert 'used for the first time' in inspect('--verify')[1]
  bases.read(str(folder))
  first = next(iter(leaves))
  written_files.write(folder, {**leaves, first: leaves[first] + 1})
  with pytest.raises(Damaged, match='--verify --accept'):
    bases.read(str(folder))
  assert inspect()[0] == 0
  assert inspect('--verify')[0] == 2
  assert inspect('--verify', '--accept')[0] == 0
  bases.read(str(folder))

  broken = leaves[first].copy()
  broken.flat[0] = np.nan
  written_files.write(folder, {**leaves, first: broken})
  code, said = inspect()
  assert code == 2 and '1 of ' in said and 'are NaN or infinite' in said
  code, said = inspect('--allow_nonfinite')
  assert code == 0 and '1 of ' in said
