"""A selector: which expert of a library serves which data set.

It lies in the folder of the library, as `selector.json`. The selector of a
request is the name of its data set, so that nothing is routed when it is
served.
"""

import posixpath
from collections.abc import Mapping, Sequence

from absl import flags
from etils import epath

from moe_lite.checkpoints import buckets, exported, library
from moe_lite.core import json_files
from moe_lite.core.errors import UserError, nearest
from moe_lite.process import arguments

SELECTOR = 'selector.json'
_FORMAT = 'moe_lite selector'
_VERSION = 1


def which(argv: Sequence[str]) -> None:
  """Runs `which`; see `command`. Raises UserError for a mistake."""
  wanted = 'Give a library, and the name of a data set.'
  path, name = arguments.parse(
    'which', argv, flags.FlagValues(), wanted, count=2
  )
  print(selected(exported.local(path), name))


def selected(path: str, data_set: str) -> str:
  """Returns the folder of the expert that serves a data set.

  Args:
    path: the folder of the library.
    data_set: the name of the data set of a request.

  Raises:
    UserError: see `read`; or if the selector does not know the data set.
  """
  experts = read(path)
  if data_set not in experts:
    raise UserError(
      f'The selector of {path} has no expert for {data_set!r}.'
      f'{nearest(data_set, experts)} It knows {", ".join(experts)}.'
    )
  return library.folder_of(path, experts[data_set])


def read(path: str) -> dict[str, str]:
  """Returns the expert of each data set, by the name of the data set.

  Args:
    path: the folder of the library.

  Raises:
    UserError: if there is no selector, if it is damaged or of a newer version,
      or if the library lacks an expert that it names.
  """
  where = posixpath.join(path, SELECTOR)
  if buckets.read(where) is None:
    raise UserError(
      f'{path} has no {SELECTOR}. Make a library with one by `python -m '
      'moe_lite.library select`.'
    )
  experts = json_files.read_form(
    where, _FORMAT, _VERSION, 'experts', 'a selector of experts'
  )
  there = library.index(path) if library.is_library(path) else {}
  missing = [
    name
    for name in sorted(set(experts.values()))
    if name not in there
    or not exported.is_exported(library.folder_of(path, name))
  ]
  if missing:
    raise UserError(
      f'{where} names experts that {path} lacks: {", ".join(missing)}. Put '
      'them back, or make the library again with `python -m moe_lite.library '
      'select`.'
    )
  return experts


def write(path: epath.PathLike, experts: Mapping[str, str]) -> None:
  """Writes the selector of a library.

  Args:
    path: the folder of the library.
    experts: data set to the name of its expert.
  """
  said = {
    'format': _FORMAT,
    'version': _VERSION,
    'experts': {x: experts[x] for x in sorted(experts)},
  }
  json_files.write(epath.Path(path) / SELECTOR, said)
