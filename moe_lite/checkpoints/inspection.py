"""What a path holds: kind, leaves, types, sizes, step, and the base's name."""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.checkpoints import bases, exported, formats, lazy_arrays, runs
from moe_lite.checkpoints.formats import Kind
from moe_lite.checkpoints.peft import folder
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.core.tables import table


@dataclasses.dataclass(frozen=True)
class Found:
  """What lies at a path.

  Attributes:
    kind: in words.
    leaves: path to shape and type, unrolled.
    facts: what its files say beside that, in order.
  """

  kind: str
  leaves: Mapping[str, tuple[tuple[int, ...], str]]
  facts: Mapping[str, Any]


def inspect(path: str) -> Found:
  """Looks at a base, a run, exported adapters, or what others wrote.

  Raises:
    UserError: if it is none of these, or is damaged.
  """
  path = formats.local(path)
  kind = formats.kind(path)
  if kind is Kind.EXPORTED:
    tree, config = exported.load(path)
    return Found(kind.value, _leaves(tree), _of_run(config))
  if kind is Kind.PEFT:
    what, theirs, facts = folder.summary(path)
    return Found(f"{what} of PEFT's", _leaves(theirs), facts)
  if kind is Kind.RUN:
    tree, description = runs.restore_trainable(path)
    return Found(kind.value, _leaves(tree), _of_run(description))
  return _base(path, kind)


def _base(path: str, kind: Kind | None) -> Found:
  arrays = bases.arrays(path)
  assert kind is not None  # Else there were none.
  facts: dict[str, Any] = bases.metadata(path)
  if kind is Kind.T5X:
    facts['step'] = native.read_step(path)
  facts['fingerprint'] = lazy_arrays.fingerprint(arrays)
  leaves = lazy_arrays.unrolled(arrays)
  adapters = sum(bool(parameters.is_adapter(name)) for name in leaves)
  with_adapters = f' with {adapters} leaves of adapters' if adapters else ''
  found = {name: (x.shape, x.dtype.name) for name, x in leaves.items()}
  return Found(kind.value + with_adapters, found, facts)


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


def _leaves(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
  return {
    name: (tuple(leaf.shape), np.dtype(leaf.dtype).name)
    for name, leaf in parameters.flatten(tree).items()
  }


def _of_run(description: Mapping[str, Any]) -> dict[str, Any]:
  stands_on = description['base']
  return {
    'step': description['step'],
    'base': f'{stands_on["source"]} (fingerprint {stands_on["fingerprint"]})',
    **{f'at {site}': what for site, what in description['method'].items()},
  }
