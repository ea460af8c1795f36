"""Gin's macros: which ones there are, who uses them, and which lack a value.

A macro is a name in capitals. The flag `--gin.NAME=value` sets it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import gin
import gin.config

from moe_lite.core.errors import UserError, nearest, some
from moe_lite.process import gin_paths, macro_defaults, macros
from moe_lite.process.commands import COMPOSED

_REQUIRED = 'gin.REQUIRED'
_MACRO = 'gin.macro'


def is_configured(entry: str) -> bool:
  """Returns whether gin binds something to a function."""
  # Gin still knows the functions of an earlier configuration, so only bindings
  # count.
  return any(selector.endswith(f'.{entry}') for _, selector in _config())


def bind(name: str, value: str) -> None:
  """Gives a macro another value.

  Args:
    name: the name of the macro.
    value: the value, written as in a gin file.

  Raises:
    UserError: if no gin file has that macro.
  """
  if name not in names():
    raise UserError(
      f'{name} is not a macro of these gin files.{nearest(name, names())} They '
      f'have {", ".join(sorted(names()))}.'
    )
  gin.parse_config(f'{name} = {value}')


def names() -> set[str]:
  """Returns the names of all macros that are assigned or used."""
  config = _config()
  assigned = {scope for scope, selector in config if selector == _MACRO}
  return assigned | {name for name, _ in _uses(config)}


def lacks_value(name: str) -> bool:
  """Returns whether a macro has no value, or requires the user to give one."""
  arguments = _config().get((name, _MACRO))
  return arguments is None or _is_required(arguments.get('value'))


def value(name: str) -> Any:
  """Returns the value of a macro that has one."""
  return _resolve(_config()[name, _MACRO]['value'])


def check(of_files: set[str]) -> None:
  """Raises UserError for a macro that is unknown or lacks a value.

  Args:
    of_files: the names of the macros that gin files assign or use.
  """
  config = _config()
  unknown = sorted(names() - of_files)
  if unknown:
    raise UserError(
      f'--gin.{unknown[0]}: none of the gin files has a macro {unknown[0]!r}.'
      f'{_elsewhere(unknown[0]) or _here(unknown[0], of_files)}'
    )
  for name, user in _uses(config):
    if (name, _MACRO) not in config:
      raise UserError(
        f'{name} is used by {user}, but nothing gives it a value.{_hint(name)}'
      )
    if _is_required(config[name, _MACRO].get('value')):
      raise UserError(f'{name} is required by {user}.{_hint(name)}')


def check_values() -> None:
  """Raises UserError for all macros whose values are not allowed.

  The macros are those of `macros.TABLE`; others belong to gin files of the
  user's, and have any value.
  """
  config = _config()
  problems = []
  for name, macro in macros.BY_NAME.items():
    if lacks_value(name):
      continue
    value = _resolve(config[name, _MACRO]['value'])
    if not macro.kind.allows(value):
      problems.append(f'{name} = {value!r} must be {macro.kind.allowed}.')
  if problems:
    raise UserError('\n'.join(problems))


def _resolve(value: Any) -> Any:
  """Follows a macro to its value, also within lists and dicts."""
  if isinstance(value, gin.config.ConfigurableReference):
    if value.selector != _MACRO:
      return value
    arguments = _config().get(('/'.join(value.scopes), _MACRO), {})
    return _resolve(arguments.get('value'))
  if isinstance(value, dict):
    return {name: _resolve(x) for name, x in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(_resolve(x) for x in value)
  return value


def _elsewhere(name: str) -> str:
  """Returns sentences on the files of the package that have a macro.

  They begin with a space. The result is empty if no file has the macro.
  """
  # Sweeps and recipes are left out, because they name other files.
  files = macro_defaults.find((*COMPOSED, 'runs/*.gin', 't5x/*.gin'))
  having = [
    x for of in macro_defaults.read(files).get(name, ()) for x in of.files
  ]
  if not having:
    return ''
  # The table names the most usual file first.
  usual = macros.BY_NAME[name].of.split(', ')
  having.sort(
    key=lambda file: next(
      (i for i, of in enumerate(usual) if file.endswith(f'/{of}.gin')),
      len(usual),
    )
  )
  said = f' It is a macro of {some(having)}, which this command does not read.'
  # A command has one run file, so another one is not to be added to it.
  added = [file for file in having if not file.startswith(('runs/', 't5x/'))]
  if not added:
    return said
  if len(having) == 1:
    return f'{said} Add --gin_file={added[0]}.'
  return f'{said} Add one of them, as in --gin_file={added[0]}.'


def _here(name: str, of_files: set[str]) -> str:
  """Returns sentences on the macros that there are, nearest first."""
  return f'{nearest(name, of_files)} They have {", ".join(sorted(of_files))}.'


def _hint(name: str) -> str:
  """Returns a sentence on how to give a macro a value."""
  files = [f for f in gin_paths.providers(name) if not f.startswith('runs/')]
  if not files:
    return f' Give it with --gin.{name}=... (strings as "\'...\'").'
  return (
    f' Give --gin_file={" or ".join(files[:6])} (after the file that requires '
    f'it), or --gin.{name}=...'
  )


def _uses(config: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
  """Yields each macro that an argument of a function needs, and the argument.

  A macro may need other macros in turn. They are included.
  """
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
  for reference in gin.config.iterate_references(value):
    if reference.selector == _MACRO:
      yield '/'.join(reference.scopes)


def _is_required(value: Any) -> bool:
  return any(
    '/'.join(reference.scopes) == _REQUIRED
    for reference in gin.config.iterate_references(value)
  )


def _config() -> Mapping[Any, Any]:
  """Returns gin's bindings, which map (scope, selector) to arguments.

  Gin's own interface gives them only to hooks of `finalize`, which also locks
  them.
  """
  return gin.config._CONFIG
