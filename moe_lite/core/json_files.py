"""Reads JSON files, with messages that name the file and the line."""

import json
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.text_files import read_text


def read(path: epath.PathLike) -> dict[str, Any]:
  """Reads a file that holds a JSON object.

  Raises:
    UserError: if it cannot be read, or holds something else.
  """
  return _object(read_text(path), str(path))


def read_lines(path: epath.PathLike) -> list[dict[str, Any]]:
  """Reads a file with a JSON object in each line.

  Raises:
    UserError: if it cannot be read, or if a line holds something else. The
      message names the line.
  """
  lines = read_text(path).split('\n')
  return [
    _object(line, f'{path}, line {number}')
    for number, line in enumerate(lines, 1)
    if line.strip()
  ]


def _object(text: str, where: str) -> dict[str, Any]:
  try:
    content = json.loads(text, parse_constant=_refuse)
  except ValueError as error:
    raise UserError(f'{where} is damaged: {error}.') from error
  if not isinstance(content, dict):
    raise UserError(f'{where} is damaged: it holds {text[:40]!r}.')
  return content


def _refuse(word: str) -> None:
  raise ValueError(f'{word} is not JSON')
