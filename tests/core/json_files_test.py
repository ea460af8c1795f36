"""JSON files that say whether they are what was written."""

import pytest

from moe_lite.core import json_files
from moe_lite.core.errors import Damaged, UserError


@pytest.mark.parametrize(
  'text', ['{', '[1]', '{"a": NaN}', '{"a": -Infinity}', '"x"', '[' * 9999]
)
def test_a_file_that_is_no_json_object_is_named(tmp_path, text):
  path = tmp_path / 'a.json'
  path.write_text(text)
  with pytest.raises(UserError, match='a.json is damaged'):
    json_files.read(path)


def test_a_file_that_was_changed_is_named(tmp_path):
  path = tmp_path / 'a.json'
  json_files.write(path, {'a': 1, 'b': 'é'})
  assert json_files.read(path) == {'a': 1, 'b': 'é'}
  path.write_text(path.read_text().replace('1', '2', 1))
  with pytest.raises(Damaged, match='a.json was changed'):
    json_files.read(path)
  # Those of earlier versions have no seal.
  path.write_text('{"a": 2}')
  assert json_files.read(path) == {'a': 2}
