"""The verb `cluster`: which experts of a library are alike (MBC)."""

from collections.abc import Sequence

import numpy as np
from absl import flags

from moe_lite.checkpoints import exported, library
from moe_lite.core import parameters, tables
from moe_lite.core.errors import UserError
from moe_lite.core.progress import say
from moe_lite.library import clustering
from moe_lite.process import arguments, shell


def cluster(argv: Sequence[str]) -> None:
  """Runs `cluster`; see `command`. Raises UserError for a mistake."""
  values = flags.FlagValues()
  arguments.add(values, flags.DEFINE_integer, 'clusters', lower_bound=1)
  arguments.add(values, flags.DEFINE_integer, 'seed', 42)
  (path,) = arguments.parse('cluster', argv, values, 'Give one library.')
  source = exported.local(path)
  if not library.is_library(source):
    raise UserError(f'{path} is not a library of experts.')
  experts = library.index(source)
  names = library.chosen(source, None)
  count = values.clusters
  if count is None or count > len(names):
    raise UserError(
      f'--clusters={count}: give a number from 1 to {len(names)}, the number '
      f'of experts of {path}.'
    )
  leaves = [
    parameters.flatten(exported.load(library.folder_of(source, name))[0])
    for name in names
  ]
  # The numbers of (IA)³ lie around one, which says nothing.
  vectors = clustering.flatten(
    {
      x: np.stack([part[x] for part in leaves]) - x.endswith('/scale')
      for x in leaves[0]
    }
  )
  labels = clustering.cluster(vectors, count, seed=values.seed)
  members = [
    [name for name, label in zip(names, labels, strict=True) if label == k]
    for k in range(count)
  ]
  rows = [(str(k), ', '.join(x)) for k, x in enumerate(members)]
  mixtures = [
    '+'.join(str(experts[name].get('data') or name) for name in x)
    for x in members
  ]
  say(
    tables.table(('cluster', 'experts'), rows),
    'Now train one expert for each cluster, on the data of its experts:',
    *(
      '  ' + shell.quote(f'--gin.MIXTURE_OR_TASK_NAME={x!r}') for x in mixtures
    ),
  )
