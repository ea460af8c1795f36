"""Reads text files of the user's: a bad row is named by file and line."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError


def read_text(path: epath.PathLike) -> str:
  """Reads a text in UTF-8, without the mark that some editors put first.

  Raises:
    UserError: if it cannot be read, or is in another encoding; the message
      names the line.
  """
  try:
    contents = epath.Path(path).read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error}.') from error
  try:
    return contents.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = contents.count(b'\n', 0, error.start) + 1
    raise UserError(
      f'{path}, line {line}: byte {contents[error.start]:#04x} is not text in '
      'UTF-8. Save the file as UTF-8.'
    ) from error


def rows_of_jsonl(path: epath.PathLike) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the number of each line that is not empty, and its JSON object.

  Raises:
    UserError: for a line that is no JSON object, or has a null in it.
  """
  # `str.splitlines` takes other characters for ends of lines, too.
  for number, line in enumerate(read_text(path).split('\n'), 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except ValueError as error:
      raise UserError(f'{path}, line {number}: {error}.') from error
    if not isinstance(row, dict):
      raise UserError(
        f'{path}, line {number}: {line[:60]!r} is not a JSON object.'
      )
    for name, value in row.items():
      if value is None:
        raise UserError(f'{path}, line {number}: {name!r} is null.')
    yield number, row


def rows_of_csv(path: epath.PathLike) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields the last line of each row, and its fields by name.

  Raises:
    UserError: for a row with more or fewer fields than the header.
  """
  reader = csv.reader(io.StringIO(read_text(path), newline=''), strict=True)
  try:
    header = next(reader, [])
    if not header or len(set(header)) < len(header) or '' in header:
      raise UserError(
        f'{path}, line 1: {header} is not a header, which names each column '
        'once.'
      )
    for fields in reader:
      if not fields:  # An empty line.
        continue
      if len(fields) != len(header):
        raise UserError(
          f'{path}, line {reader.line_num}: there are {len(fields)} fields, '
          f'and the header has {len(header)}: {", ".join(header)}.'
        )
      yield reader.line_num, dict(zip(header, fields, strict=True))
  except csv.Error as error:
    raise UserError(f'{path}, line {reader.line_num}: {error}.') from error
