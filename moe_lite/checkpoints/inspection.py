"""What a path holds: kind, leaves, types, sizes, step, and the base's name."""

import math
import re
from collections import defaultdict

import numpy as np

from moe_lite.checkpoints import formats
from moe_lite.checkpoints.format import Found
from moe_lite.core.tables import table


def inspect(path: str) -> Found:
  """Looks at a base, a run, exported adapters, or what others wrote.

  Raises:
    UserError: if it is none of these, or is damaged.
  """
  path = formats.local(path)
  found = formats.find(path)
  if found is None:
    raise formats.no_base(path, path)
  return found.inspect(path)


def text(path: str, found: Found) -> str:
  """What was found, as lines to read; layers of a kind share a line."""
  groups = defaultdict(list)
  for name, (shape, dtype) in sorted(found.leaves.items()):
    layer = re.sub(r'(layers_|\bblock\.)\d+', r'\1*', name)
    group = layer, shape, dtype
    groups[group].append(math.prod(shape))
  rows = [
    (name, dtype, ' x '.join(map(str, shape)) or 'scalar', str(len(sizes)))
    for (name, shape, dtype), sizes in groups.items()
  ]
  count = sum(math.prod(shape) for shape, _ in found.leaves.values())
  size = sum(
    math.prod(shape) * np.dtype(dtype).itemsize
    for shape, dtype in found.leaves.values()
  )
  lines = [
    f'{path}: {found.kind}',
    *(f'  {key}: {value}' for key, value in found.facts.items()),
    f'  leaves: {len(found.leaves)}, {count:,} parameters, '
    f'{size / 2**20:.1f} MiB',
    table(('leaf', 'type', 'shape', 'layers'), rows),
  ]
  return '\n'.join(lines)
