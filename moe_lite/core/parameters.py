"""The parameter tree: its paths, what trains and what is frozen, its two forms.

A tree is a nested plain dict. A path joins its keys with '/', as in
'encoder/layers_0/attention/key_adapter/scale'. One regular expression over
paths says what trains; by default it is `.*_adapter/.*`. Gradients, optimizer
state, checkpoints, counts and reports all follow it.

A tree is unrolled or stacked. An unrolled tree has a leaf for each layer, under
'layers_0/...', 'layers_1/...' and so on. A stacked tree has one leaf under
'layers/...' for all layers. A network that scans over its layers takes a
stacked tree, any other network an unrolled one; this is "the network's form".
Checkpoints are always unrolled.
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
from moe_lite.core.types import ADAPTER_SUFFIX, DType, Tree

TRAINABLE_ADAPTERS = rf'.*{ADAPTER_SUFFIX}/.*'
ALL_BUT_ADAPTERS = rf'(?!{TRAINABLE_ADAPTERS}).*'
EVERYTHING = r'.*'

# Tells whether a path is the path of an adapter's parameter.
is_adapter = re.compile(TRAINABLE_ADAPTERS).fullmatch

_LAYER = re.compile(r'(?:(.*)/)?layers_(\d+)/(.*)')
_STACKED = re.compile(r'(?:(.*)/)?layers/(.*)')


def flatten(tree: Tree) -> dict[str, Any]:
  """Returns a dict that maps each path of a tree to its leaf."""
  return traverse_util.flatten_dict(tree, sep='/')


def unflatten(leaves: dict[str, Any]) -> Tree:
  """Returns the tree of these paths and leaves; undoes `flatten`."""
  return traverse_util.unflatten_dict(leaves, sep='/')


def split(params: Tree, pattern: str) -> tuple[Tree, Tree]:
  """Splits a tree into what trains and the frozen base.

  Args:
    params: a parameter tree.
    pattern: a regular expression. A parameter trains if it matches the whole
      path.

  Returns:
    The tree of what trains, and the tree of the frozen base.

  Raises:
    UserError: if the pattern matches nothing, or is not a regular expression.
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


def held(params: Tree, pattern: str) -> Tree:
  """Returns what the checkpoints of a run hold: what trains, and all adapters.

  A run whose pattern names a part of the adapters is still whole then.

  Args:
    params: a parameter tree.
    pattern: says what trains; see `split`.
  """
  trains = flatten(split(params, pattern)[0])
  leaves = flatten(params)
  return unflatten(
    {x: leaf for x, leaf in leaves.items() if x in trains or is_adapter(x)}
  )


def adapters_of(params: Tree) -> Tree:
  """Returns the part of a tree that belongs to adapters."""
  return unflatten({x: y for x, y in flatten(params).items() if is_adapter(x)})


def merge(trainable: Tree, base: Tree) -> Tree:
  """Returns the tree of what trains and the frozen base; undoes `split`."""
  return unflatten({**flatten(base), **flatten(trainable)})


def stack_layers(tree: Tree) -> Tree:
  """Stacks the layers of an unrolled tree, on axis 1 of each leaf.

  The leaves of 'layers_0/...', 'layers_1/...' become one leaf 'layers/...'.
  Vectors become matrices [size, N], and scalars become vectors [N]. A tree that
  is already stacked is returned as it is. The function can be traced.

  Raises:
    UserError: if a layer is missing.
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
        f'{path} has layer {max(layers)} but lacks layer {min(missing)}: the '
        'tree is not whole.'
      )
    leaves[path] = jax.tree.map(
      lambda *parts: _xp(parts[0]).stack(parts, _layer_axis(parts[0].ndim)),
      *(layers[i] for i in range(len(layers))),
    )
  return unflatten(leaves)


def unstack_layers(tree: Tree) -> Tree:
  """Returns the unrolled form of a tree; undoes `stack_layers`."""
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
  """Returns the shapes and shardings of the unrolled form of a tree.

  Checkpoints store this form.

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
  """Returns the axis along which the layers of a leaf are stacked.

  Args:
    path: the path of the leaf.
    ndim: how many axes the leaf has, the axis of the layers included.

  Returns:
    None if the leaf is not a stack.
  """
  is_stack = ndim > 0 and _STACKED.fullmatch(path)
  return _layer_axis(ndim - 1) if is_stack else None


def layer_path(path: str, layer: int) -> str:
  """Returns the path of one layer of a stack.

  Args:
    path: the path of the stack, such as 'encoder/layers/mlp/wi/kernel'.
    layer: the number of the layer, from 0.
  """
  match = _STACKED.fullmatch(path)
  assert match is not None
  return _join(match[1], f'layers_{layer}', match[2])


def stacked_path(path: str) -> tuple[str, int]:
  """Returns the path of a layer's stack, and the number of the layer.

  This undoes `layer_path`.
  """
  match = _LAYER.fullmatch(path)
  assert match is not None
  return _join(match[1], 'layers', match[3]), int(match[2])


def like_network(tree: Tree, scan_layers: bool) -> Tree:
  """Returns the tree in the form that a network with `scan_layers` takes."""
  return stack_layers(tree) if scan_layers else unstack_layers(tree)


def count(tree: Tree | Sequence[Any]) -> int:
  """Returns how many numbers a tree, or a list of leaves, holds."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def cast(tree: Tree, dtype: DType) -> Tree:
  """Returns the tree with every leaf converted to `dtype`."""
  return jax.tree.map(lambda x: x.astype(dtype), tree)


def fingerprint(base: Tree) -> str:
  """Returns a hash of the paths, shapes, types and bytes of a base.

  The tree is unrolled for this. The leaves must have the types in which their
  source stores them. A base then has one fingerprint, in whatever type and form
  a run holds it.
  """
  leaves = flatten(unstack_layers(base))
  return combine({path: digest(path, leaf) for path, leaf in leaves.items()})


def digest(path: str, leaf: Any) -> bytes:
  """Returns what one leaf adds to the fingerprint of its base.

  Args:
    path: the path of the leaf, unrolled.
    leaf: an array, in the type in which its source stores it.
  """
  leaf = np.ascontiguousarray(jax.device_get(leaf))
  hashed = hashlib.sha256(f'{path} {leaf.dtype.name} {leaf.shape}\n'.encode())
  hashed.update(leaf.reshape(-1).view(np.uint8).data)
  return hashed.digest()


def combine(digests: Mapping[str, bytes]) -> str:
  """Returns the fingerprint of a base.

  Args:
    digests: maps the path of each leaf to its `digest`, in any order.

  Returns:
    16 hexadecimal digits.
  """
  ordered = (digests[path] for path in sorted(digests))
  return hashlib.sha256(b''.join(ordered)).hexdigest()[:16]


def overview(params: Tree, pattern: str) -> str:
  """Returns the table that a run prints first: what trains, and how much.

  Args:
    params: the tree of all parameters, as arrays or shapes.
    pattern: says what trains; see `split`.
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
  """Returns a phrase that compares what trains with the frozen base.

  An example is "427,008 parameters train, 0.0545 % of the frozen base's
  783,150,080".

  Args:
    trainable: how many parameters train.
    base: how many parameters are frozen.
  """
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
  """Returns NumPy for arrays on the host, and jax.numpy for others.

  Arrays on the host must not be copied to a device.
  """
  return np if isinstance(leaf, np.ndarray | np.generic) else jnp
