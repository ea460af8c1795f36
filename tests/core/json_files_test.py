"""JSON files that are read, and those that are named."""

import pytest

from moe_lite.core import json_files
from moe_lite.core.errors import UserError


@pytest.mark.parametrize(
  'text', ['{', '[1]', '{"a": NaN}', '{"a": -Infinity}', '"x"']
)
def test_a_file_that_is_no_json_object_is_named(tmp_path, text):
  path = tmp_path / 'a.json'
  path.write_text(text)
  with pytest.raises(UserError, match='a.json is damaged'):
    json_files.read(path)
  path.write_text(f'{{"a": 1}}\n\n{text}\n')
  with pytest.raises(UserError, match='a.json, line 3 is damaged'):
    json_files.read_lines(path)


def test_files_are_read(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"a": 1}\n')
  assert json_files.read(path) == {'a': 1}
  assert json_files.read_lines(path) == [{'a': 1}]
