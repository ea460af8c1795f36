"""The parameter tree: what trains, what is frozen, in which form it is held.

One predicate over paths, `.*_adapter/.*`, drives gradients, optimizer state,
checkpoints, counts and reports. Trees are nested plain dicts; a path joins
their keys with '/', as in 'encoder/layers_0/attention/key_adapter/scale'.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import DType, Tree

# Behind a site's name, the path segment whose parameters train.
ADAPTER_SUFFIX = '_adapter'
TRAINABLE_ADAPTERS = rf'.*{ADAPTER_SUFFIX}/.*'
ALL_BUT_ADAPTERS = rf'(?!{TRAINABLE_ADAPTERS}).*'
EVERYTHING = r'.*'

# Whether a path is that of an adapter's parameter.
is_adapter = re.compile(TRAINABLE_ADAPTERS).fullmatch

_LAYER = re.compile(r'(?:(.*)/)?layers_(\d+)/(.*)')
_STACKED = re.compile(r'(?:(.*)/)?layers/(.*)')


def flatten(tree: Tree) -> dict[str, Any]:
  """Path to leaf."""
  return traverse_util.flatten_dict(tree, sep='/')


def unflatten(leaves: dict[str, Any]) -> Tree:
  """The inverse of `flatten`."""
  return traverse_util.unflatten_dict(leaves, sep='/')


def split(params: Tree, pattern: str) -> tuple[Tree, Tree]:
  """Splits a tree into what trains and the frozen base.

  Args:
    params: a parameter tree.
    pattern: regular expression that matches whole paths of what trains.

  Raises:
    UserError: if the pattern matches nothing, or is no regular expression.
  """
  try:
    is_trainable = re.compile(pattern).fullmatch
  except re.error as error:
    raise UserError(
      f'TRAINABLE = {pattern!r} is not a regular expression: {error}.'
    ) from error
  leaves = flatten(params)
  trainable = {path: x for path, x in leaves.items() if is_trainable(path)}
  if not trainable:
    hint = nearest(pattern, leaves) or f' Paths look like {next(iter(leaves))}.'
    raise UserError(
      f'TRAINABLE = {pattern!r} matches none of {len(leaves)} parameters. With '
      f'an empty ADAPTERS only full fine-tuning ({EVERYTHING!r}) trains.{hint}'
    )
  base = {path: x for path, x in leaves.items() if path not in trainable}
  return unflatten(trainable), unflatten(base)


def merge(trainable: Tree, base: Tree) -> Tree:
  """The inverse of `split`."""
  return unflatten({**flatten(base), **flatten(trainable)})


def stack_layers(tree: Tree) -> Tree:
  """Stacks 'layers_0/...', 'layers_1/...' to 'layers/...', on axis 1.

  This is the form that a scanning network takes. Traceable; a tree that is
  already stacked is returned as it is.
  """
  stacks: dict[str, dict[int, Any]] = defaultdict(dict)
  leaves = {}
  for path, leaf in flatten(tree).items():
    if _LAYER.fullmatch(path):
      stacked, layer = stacked_path(path)
      stacks[stacked][layer] = leaf
    else:
      leaves[path] = leaf
  for path, layers in stacks.items():
    if missing := set(range(max(layers))) - set(layers):
      raise UserError(
        f'{path} lacks layer {min(missing)}, and has layer {max(layers)}: the '
        'tree is not whole.'
      )
    leaves[path] = jax.tree.map(
      lambda *parts: _xp(parts[0]).stack(parts, _layer_axis(parts[0].ndim)),
      *(layers[i] for i in range(len(layers))),
    )
  return unflatten(leaves)


def unstack_layers(tree: Tree) -> Tree:
  """The inverse of `stack_layers`: the form of checkpoints and optimizers."""
  leaves = {}
  for path, leaf in flatten(tree).items():
    axis = layer_axis(path, leaf.ndim)
    if axis is not None:
      for i in range(leaf.shape[axis]):
        leaves[layer_path(path, i)] = jax.tree.map(
          lambda x, i=i, axis=axis: _xp(x).take(x, i, axis=axis), leaf
        )
    else:
      leaves[path] = leaf
  return unflatten(leaves)


def unrolled(tree: Tree) -> Tree:
  """Shapes and shardings of the layers of stacks, as they lie on disk.

  Args:
    tree: shapes with shardings, in the network's form.
  """
  leaves = {}
  for path, leaf in flatten(tree).items():
    axis = layer_axis(path, leaf.ndim)
    if axis is None:
      leaves[path] = leaf
      continue
    spec = [*leaf.sharding.spec, *[None] * leaf.ndim][: leaf.ndim]
    shape = (*leaf.shape[:axis], *leaf.shape[axis + 1 :])
    kept = jax.sharding.PartitionSpec(*spec[:axis], *spec[axis + 1 :])
    place = jax.sharding.NamedSharding(leaf.sharding.mesh, kept)
    layer = jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=place)
    for i in range(leaf.shape[axis]):
      leaves[layer_path(path, i)] = layer
  return unflatten(leaves)


def layer_axis(path: str, ndim: int) -> int | None:
  """The axis along which layers are stacked; None for a leaf of one layer.

  Args:
    path: of the leaf.
    ndim: of the leaf, with that axis.
  """
  is_stack = ndim > 0 and _STACKED.fullmatch(path)
  return _layer_axis(ndim - 1) if is_stack else None


def layer_path(path: str, layer: int) -> str:
  """The path of one layer of a stacked leaf."""
  match = _STACKED.fullmatch(path)
  assert match is not None
  return _join(match[1], f'layers_{layer}', match[2])


def stacked_path(path: str) -> tuple[str, int]:
  """The path of the stack that one layer's leaf is of, and which layer."""
  match = _LAYER.fullmatch(path)
  assert match is not None
  return _join(match[1], 'layers', match[3]), int(match[2])


def like_network(tree: Tree, scan_layers: bool) -> Tree:
  """The tree in the form that a network with `scan_layers` takes."""
  return stack_layers(tree) if scan_layers else unstack_layers(tree)


def count(tree: Tree | Sequence[Any]) -> int:
  """How many numbers a tree, or a list of leaves, holds."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def cast(tree: Tree, dtype: DType) -> Tree:
  """Every leaf converted to `dtype`."""
  return jax.tree.map(lambda x: x.astype(dtype), tree)


def fingerprint(base: Tree) -> str:
  """A hash of a base's paths, shapes, dtypes and bytes, in unrolled form.

  Taken from the leaves as their source holds them, so that a base has one
  fingerprint, whatever type and form a run holds it in.
  """
  leaves = flatten(unstack_layers(base))
  return combine({path: digest(path, leaf) for path, leaf in leaves.items()})


def digest(path: str, leaf: Any) -> bytes:
  """What one leaf, of one layer, adds to the fingerprint of its base."""
  leaf = np.ascontiguousarray(jax.device_get(leaf))
  hashed = hashlib.sha256(f'{path} {leaf.dtype.name} {leaf.shape}\n'.encode())
  hashed.update(leaf.reshape(-1).view(np.uint8).data)
  return hashed.digest()


def combine(digests: Mapping[str, bytes]) -> str:
  """The fingerprint of a base from its leaves' digests, in any order."""
  ordered = (digests[path] for path in sorted(digests))
  return hashlib.sha256(b''.join(ordered)).hexdigest()[:16]


def overview(params: Tree, pattern: str) -> str:
  """The start-up table: what trains where, and its share of the base.

  Args:
    params: arrays or shapes.
    pattern: see `split`.
  """
  params = jax.eval_shape(unstack_layers, params)
  trainable, base = split(params, pattern)
  groups: dict[str, list[Any]] = defaultdict(list)
  for path, leaf in flatten(trainable).items():
    groups[re.sub(r'layers_\d+', 'layers_*', path)].append(leaf)
  rows = [('trainable', 'shape', 'layers', 'parameters')]
  for path, leaves in sorted(groups.items()):
    shape = ' x '.join(str(n) for n in leaves[0].shape)
    rows.append((path, shape, str(len(leaves)), f'{count(leaves):,}'))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  lines = [
    f'{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  '
    f'{row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}'
    for row in rows
  ]
  return '\n'.join([*lines, share(count(trainable), count(base))])


def share(trainable: int, base: int) -> str:
  """'427,008 parameters train, 0.0545 % of the frozen base's 783,150,080'."""
  if not base:
    return f'all {trainable:,} parameters train'
  return (
    f'{trainable:,} parameters train, {100 * trainable / base:.4g} % of the '
    f"frozen base's {base:,}"
  )


def _join(prefix: str | None, layer: str, rest: str) -> str:
  return f'{prefix}/{layer}/{rest}' if prefix else f'{layer}/{rest}'


def _layer_axis(ndim: int) -> int:
  return min(1, ndim)


def _xp(leaf: Any) -> Any:
  """NumPy for host arrays, which must not be copied to a device."""
  return np if isinstance(leaf, np.ndarray | np.generic) else jnp
