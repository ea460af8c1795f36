"""Arguments of a conversion: one path, `--to`, and what else a verb takes."""

import os
from collections.abc import Sequence

from absl import flags

from moe_lite.errors import UserError


def to_flag() -> flags.FlagValues:
  """Flags of one verb, `--to` and `--overwrite` among them."""
  values = flags.FlagValues()
  flags.DEFINE_string('to', None, 'Folder to write.', flag_values=values)
  flags.DEFINE_bool('overwrite', False, 'What is there.', flag_values=values)
  return values


def one_path(
  verb: str, arguments: Sequence[str], values: flags.FlagValues
) -> str:
  """The path that a verb's arguments name; fills in the flags.

  Raises:
    UserError: unless there is one, and `--to`.
  """
  try:
    _, *paths = values([verb, *arguments])
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if len(paths) != 1 or not values.to:
    raise UserError('Give one folder and --to=DIR. See --help.')
  source, target = (
    os.path.abspath(x) if '://' not in x else x for x in (paths[0], values.to)
  )
  if f'{source}/'.startswith(f'{target}/'):
    raise UserError(
      f'--to={values.to} is what is read, or holds it. Name another folder.'
    )
  return paths[0]
