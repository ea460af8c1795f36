"""The verb `add`: puts an expert into a library."""

import dataclasses
from collections.abc import Sequence

from absl import flags

from moe_lite.checkpoints import exported, library
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.evaluation.exporting import Handed, network_of
from moe_lite.library import folder
from moe_lite.process import arguments


def add(argv: Sequence[str]) -> None:
  """Runs `add`; see `command`. Raises UserError for a mistake."""
  values = flags.FlagValues()
  arguments.of_run(values)
  arguments.add(values, flags.DEFINE_bool, 'overwrite', False)
  arguments.add(values, flags.DEFINE_string, 'data')
  wanted = 'Give a library, the name of the expert, and where it is.'
  path, name, source = arguments.parse('add', argv, values, wanted, count=3)
  folder.check_name(name)
  arguments.check_apart(library.folder_of(path, name), source)
  if library.is_library(path) and name in library.index(path):
    if not values.overwrite:
      raise UserError(
        f'{path} has an expert {name!r} already: give another name, or '
        '--overwrite to replace it.'
      )
  handed = Handed.of(exported.local(source), values.step, values.gin_file)
  leaves = parameters.flatten(handed.leaves)
  others = [x for x in leaves if not parameters.is_adapter(x)]
  if others:
    raise UserError(
      f'{source} trained parameters of its base as well, such as {others[0]}. '
      'It is a base of its own, and not an expert for another one.'
    )
  folder.check_expert(source, network_of(handed.description))
  folder.check_fits(path, source, handed.description)
  training = {'run': source, **handed.training}
  if values.data:
    training['data'] = values.data
  folder.write(
    path,
    name,
    handed.leaves,
    dataclasses.replace(handed.description, tasks=None),
    training,
    handed.vocabulary,
    handed.text,
    values.overwrite,
  )
  count = len(library.index(path))
  say(
    f'Wrote {library.folder_of(path, name)}: {parameters.count(leaves):,} '
    f'parameters. {path} has {count} expert{"s" if count > 1 else ""}.'
  )
