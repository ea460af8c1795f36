"""JSON text that every program can read: there is no NaN in it.

Files are read with messages that name them.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.core.text_files import read_text


def dumps(content: Any, **options: Any) -> str:
  """Returns the JSON text of a value.

  Args:
    content: what `json.dumps` takes.
    **options: those of `json.dumps`.

  Raises:
    UserError: if a number in it is NaN or infinite. Python would write such a
      number as a word that is not JSON. The message names its place.
  """
  try:
    return json.dumps(content, allow_nan=False, **options)
  except ValueError as error:
    if 'JSON compliant' not in str(error):
      raise
    for place, value in _numbers(content, ''):
      if not math.isfinite(value):
        raise UserError(
          f'{place or "A number"} is {value}, so nothing was written: only '
          'finite numbers are results. What it was computed from, such as the '
          'parameters of a run that diverged, is not finite either.'
        ) from None
    raise


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


def _numbers(content: Any, place: str) -> Iterator[tuple[str, float]]:
  """Yields every float with its place, such as 'tasks/0/value'."""
  if isinstance(content, Mapping):
    entries = content.items()
  elif isinstance(content, list | tuple):
    entries = enumerate(content)
  else:
    if isinstance(content, float):
      yield place, content
    return
  for name, value in entries:
    yield from _numbers(value, f'{place}/{name}' if place else str(name))
