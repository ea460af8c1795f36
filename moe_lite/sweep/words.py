"""Gin files and bindings of a grid, as flags of a command."""

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.core.errors import UserError

# Files and bindings in the order of a command line: 'methods/mov.gin',
# 'NUM_EXPERTS = 10', {'NUM_EXPERTS': 10}, or a list of these.
Words = str | Mapping[str, Any] | Sequence[Any]

_BINDING = re.compile(r'\s*([\w./]+)\s*=(?!=)(.*)', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Composed:
  """Words as flags: gin files in order, and bindings by name.

  Attributes:
    files: the gin files, for `--gin_file`.
    bindings: name to value, as gin writes it. A later binding of a name
      replaces an earlier one.
  """

  files: tuple[str, ...] = ()
  bindings: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __add__(self, other: 'Composed') -> 'Composed':
    return Composed(
      self.files + other.files, {**self.bindings, **other.bindings}
    )

  def flags(self) -> list[str]:
    """The flags: all files, then all bindings."""
    return [
      *(f'--gin_file={file}' for file in self.files),
      *(f'--gin.{name}={value}' for name, value in self.bindings.items()),
    ]


def compose(words: Words) -> Composed:
  """Turns words into flags.

  Raises:
    UserError: for what is neither a gin file nor a binding.
  """
  if isinstance(words, str):
    if words.endswith('.gin'):
      return Composed((words,))
    found = _BINDING.fullmatch(words)
    if not found:
      raise UserError(
        f'{words!r} is neither a gin file nor a binding: write '
        "'methods/mov.gin' or 'NUM_EXPERTS = 10'."
      )
    return Composed((), {found[1]: found[2].strip()})
  if isinstance(words, Mapping):
    return Composed((), {n: literal(n, value) for n, value in words.items()})
  if not isinstance(words, Sequence):
    raise UserError(
      f'{words!r} is neither a gin file nor a binding, nor a list of them.'
    )
  return sum(map(compose, words), Composed())


def literal(name: str, value: Any) -> str:
  """Writes a value as gin reads it.

  Raises:
    UserError: for a value that cannot be written so, such as a function.
  """
  text = repr(value)
  try:
    ast.literal_eval(text)
  except (SyntaxError, ValueError):
    raise UserError(
      f'{name}: {text} is not a plain value. Give a binding that refers to a '
      f'function as a string, such as "{name} = @routing.TopKRouter".'
    ) from None
  return text
