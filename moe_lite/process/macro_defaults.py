"""The values that gin files give to macros, read without running the files."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from gin import config_parser

from moe_lite.process import gin_paths

# Gin's name for a value that another file or a flag must give.
_REQUIRED = '%gin.REQUIRED'
REQUIRED = 'required'


@dataclasses.dataclass(frozen=True)
class Default:
  """A value of a macro, and the files that give it.

  Attributes:
    value: the value, written as in a gin file; or `REQUIRED`.
    files: the files, from the gin folder, as in 'runs/eval.gin'.
  """

  value: str
  files: tuple[str, ...]


def find(patterns: Sequence[str]) -> list[str]:
  """Returns the gin files that match patterns, pattern after pattern.

  Args:
    patterns: such as 'models/*.gin'. A file counts once, at its first match.
  """
  folder = gin_paths.folder()
  found = [
    path.relative_to(folder).as_posix()
    for pattern in patterns
    for path in sorted(folder.glob(pattern))
  ]
  return list(dict.fromkeys(found))


def read(files: Sequence[str]) -> dict[str, list[Default]]:
  """Returns the values of every macro that files assign, in their order.

  Files that they include do not count.

  Args:
    files: paths from the gin folder.
  """
  found: dict[str, dict[str, list[str]]] = {}
  for file in files:
    for name, value in _assigned(gin_paths.folder() / file):
      found.setdefault(name, {}).setdefault(value, []).append(file)
  return {
    name: [Default(value, tuple(where)) for value, where in values.items()]
    for name, values in found.items()
  }


def _assigned(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  parser = config_parser.ConfigParser(path.read_text('utf-8'), _Source())
  for statement in parser:
    if isinstance(statement, config_parser.BindingStatement):
      name = statement.selector
      if not statement.arg_name and not statement.scope and name.isupper():
        text = repr(statement.value)
        yield name, REQUIRED if text == _REQUIRED else text


class _Text:
  """A text whose `repr` is itself."""

  def __init__(self, text: str):
    self._text = text

  def __repr__(self) -> str:
    return self._text


class _Source(config_parser.ParserDelegate):
  """Keeps references as they are written in the file."""

  def configurable_reference(
    self, scoped_configurable_name: str, evaluate: bool
  ) -> Any:
    brackets = '()' if evaluate else ''
    return _Text(f'@{scoped_configurable_name}{brackets}')

  def macro(self, macro_name: str) -> Any:
    return _Text(f'%{macro_name}')
