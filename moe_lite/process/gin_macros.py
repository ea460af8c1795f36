"""Gin's macros: which there are, who uses them, and which lack a value.

A macro is a name in capitals, and a flag: `--gin.NAME=value`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import gin
from gin import config as gin_config

from moe_lite.core.errors import UserError, nearest
from moe_lite.process import gin_paths

_REQUIRED = 'gin.REQUIRED'
_MACRO = 'gin.macro'


def is_configured(entry: str) -> bool:
  """Whether gin binds something to a function."""
  # Gin remembers functions of an earlier configuration: bindings count.
  return any(selector.endswith(f'.{entry}') for _, selector in _config())


def bind(name: str, value: str) -> None:
  """Gives a macro another value, written as in a gin file.

  Raises:
    UserError: if no gin file has that macro.
  """
  if name not in names():
    raise UserError(
      f'{name} is no macro of these gin files.{nearest(name, names())} They '
      f'have {", ".join(sorted(names()))}.'
    )
  gin.parse_config(f'{name} = {value}')


def names() -> set[str]:
  """Names of macros that are assigned or used."""
  config = _config()
  assigned = {scope for scope, selector in config if selector == _MACRO}
  return assigned | {name for name, _ in _uses(config)}


def lacks_value(name: str) -> bool:
  arguments = _config().get((name, _MACRO))
  return arguments is None or _is_required(arguments.get('value'))


def check(of_files: set[str]) -> None:
  """Raises UserError for a macro that nothing uses, or that lacks a value."""
  config = _config()
  unknown = sorted(names() - of_files)
  if unknown:
    raise UserError(
      f'--gin.{unknown[0]}: none of the gin files has a macro '
      f'{unknown[0]!r}.{nearest(unknown[0], of_files)} They have '
      f'{", ".join(sorted(of_files))}.'
    )
  for name, user in _uses(config):
    if (name, _MACRO) not in config:
      raise UserError(
        f'{name} is used by {user}, but nothing gives it a value.{_hint(name)}'
      )
    if _is_required(config[name, _MACRO].get('value')):
      raise UserError(f'{name} is required by {user}.{_hint(name)}')


def _hint(name: str) -> str:
  """Which files give a macro a value, or how to give it one."""
  files = [f for f in gin_paths.providers(name) if not f.startswith('runs/')]
  if not files:
    return f' Give it with --gin.{name}=... (strings as "\'...\'").'
  return (
    f' Give --gin_file={" or ".join(files[:6])} (after the file that requires '
    f'it), or --gin.{name}=...'
  )


def _uses(config: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
  """Macros that a function's arguments need, with that argument."""
  for (_, selector), arguments in config.items():
    if selector == _MACRO:
      continue
    for argument, value in arguments.items():
      short = '.'.join(selector.split('.')[-2:])
      pending, seen = [value], set()
      while pending:
        for name in _names_within(pending.pop()):
          if name not in seen:
            seen.add(name)
            yield name, f'{short}.{argument}'
            pending.append(config.get((name, _MACRO), {}).get('value'))


def _names_within(value: Any) -> Iterator[str]:
  for reference in gin_config.iterate_references(value):
    if reference.selector == _MACRO:
      yield '/'.join(reference.scopes)


def _is_required(value: Any) -> bool:
  return any(
    '/'.join(reference.scopes) == _REQUIRED
    for reference in gin_config.iterate_references(value)
  )


def _config() -> Mapping[Any, Any]:
  """Gin's bindings: (scope, selector) to arguments.

  Gin hands them only to hooks of `finalize`, which also locks them.
  """
  return gin_config._CONFIG
