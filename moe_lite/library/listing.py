"""The verb `list`: shows the experts of a library."""

from collections.abc import Sequence

from absl import flags

from moe_lite.checkpoints import library
from moe_lite.core import tables
from moe_lite.core.errors import UserError
from moe_lite.process import arguments


def list_(argv: Sequence[str]) -> None:
  """Runs `list`; see `command`. Raises UserError for a mistake."""
  (path,) = arguments.parse(
    'list', argv, flags.FlagValues(), 'Give one library.'
  )
  if not library.is_library(path):
    raise UserError(
      f'{path} is not a library of experts. Make one with `python -m '
      f'moe_lite.library add {path} NAME SOURCE`.'
    )
  experts = library.index(path)
  serves = any('serves' in said for said in experts.values())
  rows = [
    (
      name,
      *([str(said.get('serves') or '')] if serves else []),
      str(said.get('data') or ''),
      f'{said["steps"]:,}' if said.get('steps') else '',
      str(said.get('stages') or ''),
      said['fingerprint'],
      str(said.get('source') or ''),
    )
    for name, said in experts.items()
  ]
  header = (
    *('expert', *(['serves'] if serves else [])),
    *('data', 'steps', 'stages before', 'fingerprint', 'from'),
  )
  print(tables.table(header, rows))
  for first in list(experts.values())[:1]:
    base = first['base']
    print(f'base: {base["source"]} (fingerprint {base["fingerprint"]})')
    for site, what in first['method'].items():
      print(f'at {site}: {what}')
