"""Calls an entry point from Python, as its command would run it."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.core.errors import UserError
from moe_lite.process import boundary, cli, compiled, start

# A value that begins with one of these names a function or a macro, as in gin.
_REFERENCES = ('@', '%')


def call(
  entry: str,
  run_file: str,
  gin_files: Sequence[str],
  macros: Mapping[str, Any],
  gin_search_paths: Sequence[str] = (),
  seqio_additional_cache_dirs: Sequence[str] = (),
) -> Any:
  """Configures an entry point with gin and calls it in this process.

  Everything that gin knew before is cleared, so that calls do not see the
  settings of one another.

  Args:
    entry: see `cli.main`.
    run_file: see `cli.main`.
    gin_files: the values of the command's --gin_file, in their order.
    macros: from the name of each macro to its value.
    gin_search_paths: see `cli`.
    seqio_additional_cache_dirs: see `cli`.

  Returns:
    What the entry point returned.

  Raises:
    UserError: where the command would end with a message and exit code 2.
  """
  if isinstance(gin_files, str):
    raise UserError(f'gin_files = {gin_files!r} must be a list of files.')
  start.check_not_hidden(os.getcwd())
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  compiled.keep()
  argv = [
    entry,
    *(f'--gin_file={file}' for file in gin_files),
    *(f'--gin.{name}={_written(value)}' for name, value in macros.items()),
    f'--gin_search_paths={",".join(gin_search_paths)}',
    f'--seqio_additional_cache_dirs={",".join(seqio_additional_cache_dirs)}',
  ]
  try:
    return cli.configure(argv, entry, run_file)()
  except Exception as error:
    explained = boundary.explain(error)
    if explained is None:
      raise
    raise _own_type(explained)(cli.message(explained)) from error


def _own_type(error: UserError) -> type[UserError]:
  """The class of an error, before gin derived another to add to its message."""
  for kind in type(error).__mro__:
    if getattr(sys.modules[kind.__module__], kind.__name__, None) is kind:
      return kind
  return UserError


def _written(value: Any) -> str:
  """A value as gin reads it."""
  if isinstance(value, str) and value.startswith(_REFERENCES):
    return value
  if isinstance(value, os.PathLike):
    return repr(os.fspath(value))
  return repr(value)
