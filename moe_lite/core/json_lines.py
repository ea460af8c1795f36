"""Files that grow by lines, with a JSON object in each.

A hidden file beside such a file says how many lines are written, and what their
hash is: `.metrics.jsonl.seal`. Lines after these do not count, because the
process that wrote them was killed before it could say so. A file without a seal
is read as it is: earlier versions wrote none.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from etils import epath

from moe_lite.core import json_files
from moe_lite.core.errors import Damaged, UserError
from moe_lite.core.files import replace_text
from moe_lite.core.text_files import read_text

_LINES, _HASH = 'lines', 'sha256'


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """Reads the objects of a file.

  Raises:
    Damaged: if its lines are not those that were written.
    UserError: if it cannot be read, or if a line holds something else. The
      message names the line.
  """
  return [row for _, row in _read(epath.Path(path))]


class Lines:
  """Writes a file of this kind."""

  def __init__(self, path: epath.PathLike, kept: int):
    """Opens a file, which need not exist.

    Args:
      path: the file.
      kept: how many of its lines stay. The others are dropped.

    Raises:
      Damaged, UserError: see `read`.
    """
    self._path = epath.Path(path)
    self._count, self._hash = 0, hashlib.sha256()
    if not self._path.exists():  # The first line will make it.
      if _seal_of(self._path).exists():
        self._seal()
      return
    text = self._count_in(line for line, _ in _read(self._path)[:kept])
    # The seal comes first. If this process is killed in between, the file has
    # lines that do not count.
    self._seal()
    if self._path.read_bytes() != text.encode():
      replace_text(self._path, text)

  def append(self, lines: Sequence[str]) -> None:
    """Adds JSON texts that have no line breaks."""
    with self._path.open('ab') as file:
      file.write(self._count_in(lines).encode())
    self._seal()

  def _count_in(self, lines: Iterable[str]) -> str:
    """Takes lines into the count and the hash, and returns their text."""
    text = ''
    for line in lines:
      text += f'{line}\n'
      self._count += 1
    self._hash.update(text.encode())
    return text

  def _seal(self) -> None:
    said = {_LINES: self._count, _HASH: self._hash.hexdigest()}
    json_files.write(_seal_of(self._path), said)


def _read(path: epath.Path) -> list[tuple[str, dict[str, Any]]]:
  """Returns the lines that count, each with its object."""
  sealed = _read_seal(path)
  lines = read_text(path).split('\n')
  if sealed is None:
    # What follows the last line break may have been cut off as it was written.
    if not _is_json(lines[-1]):
      del lines[-1]
  else:
    count, wanted = sealed
    lines = lines[:count]
    text = ''.join(f'{line}\n' for line in lines)
    if hashlib.sha256(text.encode()).hexdigest() != wanted:
      raise Damaged(
        f'{path} was changed after it was written: its first {count} lines are '
        f'not those of {_seal_of(path)}. Put the old file back. To go on with '
        'it as it is, remove that seal.'
      )
  return [
    (line, json_files.parse(line, f'{path}, line {number}'))
    for number, line in enumerate(lines, 1)
    if line.strip()
  ]


def _is_json(text: str) -> bool:
  try:
    json.loads(text)
  except ValueError:
    return False
  return True


def _read_seal(path: epath.Path) -> tuple[int, str] | None:
  """Returns how many lines count and their hash; None if nothing says so."""
  seal = _seal_of(path)
  if not seal.exists():
    return None
  try:
    said = json_files.read(seal)
  except UserError as error:
    said, cause = {}, error
  else:
    cause = None
  count, wanted = said.get(_LINES), said.get(_HASH)
  if not isinstance(count, int) or not isinstance(wanted, str):
    raise Damaged(
      f'{seal} is damaged, so that nothing tells whether {path.name} is what '
      'was written. To take that file as it is, remove the seal.'
    ) from cause
  return count, wanted


def _seal_of(path: epath.Path) -> epath.Path:
  return path.parent / f'.{path.name}.seal'
