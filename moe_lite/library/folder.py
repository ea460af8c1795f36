"""Writes experts into the folder of a library."""

import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from moe_lite.checkpoints import exported, library
from moe_lite.checkpoints.description import Description, check_same
from moe_lite.core import json_files, locks, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import describe_method, from_json, other_sizes


def names(value: list[str] | None) -> list[str] | None:
  """The names of experts that a flag lists; None if it is not given."""
  return [x.strip() for x in value] if value else None


def check_name(name: str) -> None:
  """Raises UserError unless a name can be that of a folder."""
  if not name or name != os.path.basename(name) or name.startswith('.'):
    raise UserError(
      f'{name!r} cannot be the name of an expert: give a name without / that '
      'does not begin with a dot, such as that of its data set.'
    )


def check_expert(source: str, network: T5Config) -> None:
  """Raises UserError unless adapters are single experts at every site."""
  standing = network.standing()
  if not standing:
    raise UserError(f'{source} has no adapters.')
  for site, adapter in standing.items():
    if network.decisions or not library.is_expert(adapter):
      raise UserError(
        f'{source} has {type(adapter).__name__} at {site}, and a library holds '
        'single experts, (IA)³ or LoRA. Make experts of a mixture with '
        f'`python -m moe_lite.library split {source} --to=DIR`.'
      )


def check_fits(path: str, source: str, said: Description) -> None:
  """Checks that an expert may stand beside those of a library.

  Args:
    path: the folder of the library, which may not be there yet.
    source: where the expert is from, for messages.
    said: what it says of itself.

  Raises:
    UserError: if it has another base, other sizes, another method or other
      sites.
  """
  there = list(library.index(path)) if library.is_library(path) else []
  if not there:
    return
  first = exported.describe(library.folder_of(path, there[0]))
  check_same(source, said.base, first.base)
  theirs, mine = (from_json(x.network_of(source)) for x in (first, said))
  if problems := other_sizes(theirs, mine):
    raise UserError(
      f'{source} stands on a network of other sizes than the experts of {path}:'
      f' {"; ".join(problems)}.'
    )
  before, now = describe_method(theirs), describe_method(mine)
  if before == now:
    return
  others = [
    f'at {site} the library has {before.get(site, "none")} and {source} has '
    f'{now.get(site, "none")}'
    for site in sorted(before.keys() | now.keys())
    if before.get(site) != now.get(site)
  ]
  raise UserError(
    f'{source} does not fit the library {path}: {"; ".join(others)}. The '
    'experts of a library have one method, one size and the same sites.'
  )


def write(
  path: str,
  name: str,
  leaves: Tree,
  said: Description,
  training: Mapping[str, Any],
  vocabulary: bytes | None,
  text: Mapping[str, Any],
  overwrite: bool = False,
) -> None:
  """Writes an expert into a library, and then its line in the index.

  Args:
    path: the folder of the library, which is made if it is not there.
    name: the name of the expert.
    leaves: its leaves, layers apart.
    said: what it says of itself.
    training: see `exported.save`. The index tells of it as well, and of the
      data sets that the expert `serves` where it names them.
    vocabulary: see `exported.save`.
    text: see `exported.save`.
    overwrite: whether to replace an expert of this name.

  Raises:
    UserError: see `check_fits` and `exported.save`.
  """
  check_name(name)
  with locks.owned(path, 'the library', 'Adding to a library'):
    if library.is_library(path):
      check_fits(path, str(training.get('run', name)), said)
    folder = library.folder_of(path, name)
    exported.save(folder, leaves, said, training, vocabulary, text, overwrite)
    _note(path, name, leaves, said, training)


def _note(
  path: str,
  name: str,
  leaves: Tree,
  said: Description,
  training: Mapping[str, Any],
) -> None:
  """Writes the line of an expert into the index."""
  experts = library.index(path) if library.is_library(path) else {}
  experts[name] = {
    'data': training.get('data'),
    'steps': training.get('steps', said.step),
    'source': training.get('run'),
    'method': describe_method(from_json(said.network_of(path))),
    'base': {
      'source': said.base.source,
      'fingerprint': said.base.fingerprint,
    },
    'fingerprint': parameters.fingerprint(leaves),
    'stages': len(said.stages or ()),
  }
  if 'serves' in training:
    experts[name]['serves'] = training['serves']
  where = epath.Path(path) / library.INDEX
  json_files.write(where, library.index_of(experts))
