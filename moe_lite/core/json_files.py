"""JSON files with a seal: they say whether they are what was written.

Messages name the file.
"""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from moe_lite.core import integrity, json_text
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.text_files import read_text


def write(path: epath.Path, said: Mapping[str, Any]) -> None:
  """Writes a JSON object with its seal."""
  text = json_text.dumps(integrity.seal(said), indent=2)
  replace_text(path, f'{text}\n')


def read(path: epath.PathLike) -> dict[str, Any]:
  """Reads a file that holds a JSON object, with or without a seal.

  Raises:
    Damaged: if it is not what its seal says.
    UserError: if it cannot be read, or holds something else.
  """
  return integrity.unseal(parse(read_text(path), str(path)), str(path))


def read_form(
  path: str, form: str, version: int, entry: str, what: str
) -> dict[str, Any]:
  """Reads an object from a file of a form that this package writes.

  Args:
    path: the file.
    form: what its entry `format` must be.
    version: the newest version that this package reads.
    entry: the name of the object in the file.
    what: what the file is, for the message, such as 'a selector of experts'.

  Raises:
    UserError: if it is damaged, of another form, or of a newer version.
  """
  said = read(path)
  found = said.get(entry)
  if said.get('format') != form or not isinstance(found, dict):
    raise UserError(f'{path} is not {what}.')
  if said.get('version', 0) > version:
    raise UserError(
      f'{path} has version {said["version"]}, and this package reads up to '
      f'{version}: install a newer moe_lite.'
    )
  return found


def parse(text: str, where: str) -> dict[str, Any]:
  """Returns the JSON object that a text holds.

  Args:
    text: the text.
    where: the file, and perhaps the line, for messages.

  Raises:
    UserError: if the text holds something else.
  """
  try:
    content = json.loads(text, parse_constant=_refuse)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{where} is damaged: {error}.') from error
  if not isinstance(content, dict):
    raise UserError(f'{where} is damaged: it holds {text[:40]!r}.')
  return content


def _refuse(word: str) -> None:
  raise ValueError(f'{word} is not JSON')
