"""Bad rows of CSV and JSONL files are named by file and line."""

import json

import pytest

from moe_lite.core import text_files
from moe_lite.core.errors import UserError


def write(folder, name, contents):
  path = folder / name
  path.write_bytes(
    contents if isinstance(contents, bytes) else contents.encode()
  )
  return path


@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])
def test_rows_are_read_with_and_without_a_mark(tmp_path, mark):
  table = write(
    tmp_path, 'a.csv', mark + b'a,b\r\n1,"x\ny"\r\n\r\n2,\xc3\xa9\r\n'
  )
  assert list(text_files.rows_of_csv(table)) == [
    (3, {'a': '1', 'b': 'x\ny'}),
    (5, {'a': '2', 'b': 'é'}),
  ]
  separator = json.dumps({'a': 'x\u2028y'}, ensure_ascii=False).encode()
  lines = write(tmp_path, 'a.jsonl', mark + b'{"a": 1}\n\n' + separator)
  assert list(text_files.rows_of_jsonl(lines)) == [
    (1, {'a': 1}),
    (3, {'a': 'x\u2028y'}),
  ]


CSV = {
  'too few': ('a,b\n1,2\n3\n', 'line 3: there are 1 fields'),
  'too many': ('a,b\n1,2,3\n', 'line 2: there are 3 fields'),
  'no header': ('', 'line 1'),
  'a name twice': ('a,a\n1,2\n', 'line 1.*header'),
  'open quotes': ('a,b\n1,"2\n', 'line 2'),
  'latin 1': ('a,b\n1,é\n'.encode('latin-1'), 'line 2: byte 0xe9 .*UTF-8'),
  'utf 16': ('a,b\n1,2\n'.encode('utf-16'), 'line 1: byte 0xff'),
}
JSONL = {
  'half a line': ('{"a": 1}\n{"a"', 'line 2'),
  'a list': ('[1]\n', 'line 1: .*not a JSON object'),
  'a text': ('"x"\n', 'not a JSON object'),
  'null': ('{"a": 1}\n\n{"a": null}\n', "line 3: 'a' is null"),
  'latin 1': ('{"a": "é"}'.encode('latin-1'), 'line 1: byte 0xe9'),
  'binary': (bytes(range(128, 200)), 'line 1: byte 0x80'),
}


@pytest.mark.parametrize('name', CSV)
def test_bad_rows_of_csv_are_named(tmp_path, name):
  contents, message = CSV[name]
  path = write(tmp_path, 'a.csv', contents)
  with pytest.raises(UserError, match=f'a.csv, {message}'):
    list(text_files.rows_of_csv(path))


@pytest.mark.parametrize('name', JSONL)
def test_bad_rows_of_jsonl_are_named(tmp_path, name):
  contents, message = JSONL[name]
  path = write(tmp_path, 'a.jsonl', contents)
  with pytest.raises(UserError, match='a.jsonl, .*' + message):
    list(text_files.rows_of_jsonl(path))


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(UserError, match='none.csv cannot be read'):
    text_files.read_text(tmp_path / 'none.csv')
