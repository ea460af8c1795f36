"""The arguments of a verb: one path, `--to`, and flags of its own."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from moe_lite.core import files
from moe_lite.core.errors import UserError, nearest


def run_verb(
  verbs: Mapping[str, Callable[[Sequence[str]], None]],
  argv: Sequence[str],
  what: str,
) -> None:
  """Runs the verb that a command line names.

  Args:
    verbs: name of a verb to what runs it on the arguments after it.
    argv: the command line.
    what: what a verb of this command is, such as 'a conversion'.

  Raises:
    UserError: if there is no such verb.
  """
  verb = argv[1] if len(argv) > 1 else ''
  if verb not in verbs:
    raise UserError(
      f'{verb!r} is not {what}; give one of {", ".join(verbs)}.'
      f'{nearest(verb, verbs)} See --help.'
    )
  verbs[verb](argv[2:])


def to_flag() -> flags.FlagValues:
  """The flags that every verb has: `--to` and `--overwrite`."""
  values = flags.FlagValues()
  add(values, flags.DEFINE_string, 'to')
  add(values, flags.DEFINE_bool, 'overwrite', False)
  return values


def add(
  values: flags.FlagValues,
  define: Callable[..., Any],
  name: str,
  default: Any = None,
  **limits: Any,
) -> None:
  """Adds a flag to those of a verb.

  It has no help of its own: `--help` prints the docstring of `command`.

  Args:
    values: the flags of the verb.
    define: a function of absl's, such as `flags.DEFINE_integer`.
    name: the name of the flag.
    default: its value where it is not given.
    **limits: what else `define` takes, such as `lower_bound`.
  """
  define(name, default, help=None, flag_values=values, **limits)


def of_run(values: flags.FlagValues) -> None:
  """Adds the flags of verbs that read a run."""
  add(values, flags.DEFINE_integer, 'step')
  add(values, flags.DEFINE_multi_string, 'gin_file', [])


def one_path(
  verb: str, arguments: Sequence[str], values: flags.FlagValues
) -> str:
  """Parses the arguments of a verb, and returns the path that they name.

  Args:
    verb: the name of the verb.
    arguments: what follows it on the command line.
    values: its flags, which are filled in.

  Raises:
    UserError: unless there is one path, and a `--to` where something may be
      written.
  """
  wanted = 'Give one folder and --to=DIR.'
  paths = parse(verb, arguments, values, wanted)
  if not values.to:
    raise UserError(f'{wanted} See --help.')
  given = values['base'].value if 'base' in values else None
  check_apart(values.to, *filter(None, [paths[0], given]))
  # Before anything large is fetched and read.
  files.check(values.to, values.overwrite)
  return paths[0]


def parse(
  verb: str,
  arguments: Sequence[str],
  values: flags.FlagValues,
  wanted: str,
  count: int = 1,
) -> list[str]:
  """Parses the arguments of a verb, and returns its paths.

  Args:
    verb: the name of the verb.
    arguments: what follows it on the command line.
    values: its flags, which are filled in.
    wanted: says what to give.
    count: how many paths there must be.

  Raises:
    UserError: if a flag is wrong, or if there are more or fewer paths.
  """
  try:
    _, *paths = values([verb, *arguments])
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(paths) != count:
    raise UserError(f'{wanted} See --help.')
  return paths


def check_apart(target: str, *read: str) -> None:
  """Raises UserError if `target` is, or contains, a path that is read."""
  for path in read:
    if f'{_real(path)}/'.startswith(f'{_real(target)}/'):
      raise UserError(
        f'--to={target} is what is read, or holds it: {path}. Name another '
        'folder.'
      )


def _real(path: str) -> str:
  return path.rstrip('/') if '://' in path else os.path.realpath(path)
