"""What a path holds: kind, leaves, types, sizes, step, and the base's name."""

import math
import re
from collections import defaultdict

import numpy as np

from moe_lite.checkpoints import bases, first_use, formats
from moe_lite.checkpoints.format import BaseFormat, Found
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


def verify(path: str, found: Found, accept: bool = False) -> str:
  """Compares what `inspect` read with what was saved, or with its first use.

  Args:
    path: the path.
    found: what `inspect` returned.
    accept: see `first_use.check`.

  Returns:
    A sentence on what was found.

  Raises:
    Damaged: if it is something else.
  """
  path = formats.local(path)
  form = formats.find(path)
  if isinstance(form, BaseFormat) and not form.has_steps:
    return bases.check_fingerprint(form, path, found.fingerprint, accept)
  assert form is not None
  described = form.describe(path)
  if described is None:
    return first_use.check(path, found.fingerprint, form.says(path), accept)
  if described.hashes is None:
    return 'every leaf is finite; its version wrote no hashes to compare with'
  return 'every leaf is what was saved'


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
