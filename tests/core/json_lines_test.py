"""Files of JSON lines: what was written counts, and nothing else."""

import pytest
from etils import epath

from moe_lite.core import json_lines
from moe_lite.core.errors import Damaged, UserError


@pytest.fixture
def path(tmp_path):
  path = epath.Path(tmp_path / 'a.jsonl')
  lines = json_lines.Lines(path, 0)
  assert not path.exists()
  lines.append(['{"a": 1}', '{"a": "\u2028é"}'])
  lines.append(['{"a": 3}'])
  return path


def values(path):
  return [row['a'] for row in json_lines.read(path)]


def test_lines_are_read_and_added_and_dropped(path):
  assert values(path) == [1, '\u2028é', 3]
  json_lines.Lines(path, 2).append(['{"a": 4}'])
  assert values(path) == [1, '\u2028é', 4]
  assert path.read_text().count('\n') == 3


def test_what_a_killed_process_did_not_seal_does_not_count(path):
  with path.open('a') as file:
    file.write('{"a": 4}\n{"a"')
  assert values(path) == [1, '\u2028é', 3]
  json_lines.Lines(path, 3).append(['{"a": 5}'])
  assert values(path) == [1, '\u2028é', 3, 5]


@pytest.mark.parametrize(
  ('old', 'new'), [('1', '2'), ('{"a": 1}\n', ''), ('"a"', '')]
)
def test_lines_that_were_changed_are_refused(path, old, new):
  path.write_text(path.read_text().replace(old, new, 1))
  with pytest.raises(Damaged, match='a.jsonl was changed after it was written'):
    json_lines.Lines(path, 3)


def test_a_damaged_seal_is_named(path):
  seal = path.parent / '.a.jsonl.seal'
  for text in ('', '{}', '{"lines": "x", "sha256": ""}'):
    seal.write_text(text)
    with pytest.raises(Damaged, match='To take that file as it is, remove'):
      json_lines.read(path)
  seal.unlink()
  assert len(values(path)) == 3


def test_a_file_without_a_seal_is_taken_as_it_is(tmp_path):
  path = epath.Path(tmp_path / 'old.jsonl')
  path.write_text('{"a": 1}\n{"a": 2}')
  assert values(path) == [1, 2]
  path.write_text('{"a": 1}\n{"a": ')  # Cut off as it was written.
  assert values(path) == [1]
  path.write_text('{"a": 1}\n[]\n{"a": 3}\n')
  with pytest.raises(UserError, match='old.jsonl, line 2 is damaged'):
    json_lines.read(path)


def test_a_file_that_is_gone_begins_anew(path):
  path.unlink()
  lines = json_lines.Lines(path, 0)
  # A process that is killed here leaves a line that the old seal knows not.
  path.write_text('{"a": 9}\n')
  assert values(path) == []
  path.unlink()
  lines.append(['{"a": 9}'])
  assert values(path) == [9]
