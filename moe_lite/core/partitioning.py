"""Logical axes, the rules that map them to a mesh, and annotations.

A parameter or activation names its axes where it is born; rules map the names
to the mesh axes `data` and `model`. This is the only module that touches
`flax.linen.partitioning`, the legacy annotation API which T5X requires: it
records the names in the collection `params_axes`.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import flax
import jax
import numpy as np
from flax.linen import partitioning as flax_partitioning
from jax.experimental import mesh_utils
from jax.experimental.layout import Format
from jax.experimental.layout import Layout as MemoryLayout
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Axes, DType, Initializer, Shape, Tree

MESH_AXES = ('data', 'model')
# A TPU pads the axis that varies fastest to a multiple of this.
_LANES = 128
# (data, model), or None for all devices on data; 'auto' is resolved by `plan`.
MeshShape = Sequence[int] | str | None

# Tensor parallelism over `model`, batch over `data` (T5X's standard rules);
# experts and ranks are small and stay whole on every chip.
LOGICAL_AXIS_RULES = (
  ('batch', 'data'),
  ('length', None),
  ('embed', None),
  ('mlp', 'model'),
  ('heads', 'model'),
  ('kv', None),
  ('joined_kv', 'model'),
  ('vocab', 'model'),
  ('relpos_buckets', None),
  ('layers', None),
  ('expert', None),
  ('rank', None),
)
LOGICAL_AXES = tuple(name for name, _ in LOGICAL_AXIS_RULES)

# A frozen base has no gradients to reduce, so it may also be sharded over
# `data`: each weight is gathered where it is used.
FULLY_SHARDED_RULES = tuple(
  (name, 'data' if name == 'embed' else mesh_axis)
  for name, mesh_axis in LOGICAL_AXIS_RULES
)

# Flax's scan, taught to add the axis name `layers` to `params_axes`.
scan_with_axes = flax_partitioning.scan_with_axes


def param(
  module: flax.linen.Module,
  name: str,
  init: Initializer,
  shape: Shape,
  dtype: DType,
  axes: Axes,
) -> Array:
  """Declares a parameter of `module` together with its logical axes."""
  if len(shape) != len(axes):
    raise ValueError(f'{name}: shape {tuple(shape)} has not the axes {axes}.')
  value = module.param(name, init, tuple(shape), dtype)
  module.sow(
    'params_axes',
    f'{name}_axes',
    flax_partitioning.AxisMetadata(tuple(axes)),
    reduce_fn=_last,
  )
  # A quantised parameter is two arrays, the second of which has axes of size 1.
  return jax.tree.map(lambda x: constrain(x, _splittable(x, axes)), value)


def constrain(x: Array, axes: Sequence[str | None]) -> Array:
  """Constrains an activation's sharding; nothing outside `axis_rules`."""
  return flax_partitioning.with_sharding_constraint(x, PartitionSpec(*axes))


def make_mesh(
  shape: MeshShape = None,
  # jaxlib has no stub for the class.
  devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
  """Returns a `('data', 'model')` mesh.

  Args:
    shape: (data, model); None puts every device on `data`.
    devices: the devices to use; all of them by default.

  Raises:
    UserError: if there are fewer devices than the mesh takes, or if it takes
      none of some process.
  """
  devices = list(jax.devices() if devices is None else devices)
  if shape is None:
    shape = (len(devices), 1)
  is_pair = not isinstance(shape, str) and len(shape) == 2
  if not is_pair or any(not isinstance(n, int) or n < 1 for n in shape):
    raise UserError(
      f'MESH = {shape!r} is not a mesh: give two positive whole numbers, '
      "(data, model); 'auto'; or None for all devices on data."
    )
  shape = (int(shape[0]), int(shape[1]))
  size = math.prod(shape)
  if size > len(devices):
    raise UserError(
      f'MESH = {shape} (data, model) needs {size} devices, but there are '
      f'{len(devices)} ({devices[0].device_kind}). Choose numbers whose product'
      f' is at most {len(devices)}, or MESH = None for all devices on data.'
    )
  processes = {d.process_index for d in devices}
  idle = processes - {d.process_index for d in devices[:size]}
  if idle:
    raise UserError(
      f'MESH = {shape} (data, model) takes {size} of {len(devices)} devices, '
      f'and none of process {min(idle)}. Every process must take part: give '
      'numbers whose product is the number of devices, or MESH = None.'
    )
  if size == len(devices):
    # Neighbours on the mesh become neighbours on the chips' own network.
    arranged = mesh_utils.create_device_mesh(shape, devices)
  else:
    arranged = np.asarray(devices[:size]).reshape(shape)
  return Mesh(
    arranged,
    MESH_AXES,
    axis_types=(AxisType.Auto,) * 2,
  )


@contextlib.contextmanager
def axis_rules(
  mesh: Mesh, rules: Sequence[tuple[str, str | None]] = LOGICAL_AXIS_RULES
) -> Iterator[None]:
  """Within it, traced `constrain` and `param` calls refer to this mesh."""
  with jax.set_mesh(mesh), flax_partitioning.axis_rules(rules):
    yield


@contextlib.contextmanager
def within_shard() -> Iterator[None]:
  """Within it, `constrain` leaves the batch alone.

  For what is mapped over `data` by `jax.vmap` with `spmd_axis_name`.
  """
  rules = flax_partitioning.get_axis_rules()
  with flax_partitioning.axis_rules(
    [(name, axis) for name, axis in rules if name != 'batch']
  ):
    yield


def split_first(x: Array) -> Array:
  """Splits an array over `data` by its first axis."""
  return constrain(x, ('batch', *[None] * (x.ndim - 1)))


def axis_names(params_axes: Tree) -> Tree:
  """Logical axes of every parameter, as a tree of tuples shaped like params.

  `get_axis_names` returns a FrozenDict of PartitionSpecs, while parameters are
  plain dicts.
  """
  names = flax.core.unfreeze(flax_partitioning.get_axis_names(params_axes))
  return jax.tree.map(tuple, names, is_leaf=_is_axes)


def shardings(
  axes: Tree,
  mesh: Mesh,
  rules: Sequence[tuple[str, str | None]] = LOGICAL_AXIS_RULES,
) -> Tree:
  """Maps a tree of logical axes (see `axis_names`) to shardings on `mesh`."""

  def sharding(names: Axes) -> NamedSharding:
    spec = flax_partitioning.logical_to_mesh_axes(names, rules)
    assert spec is not None  # It is for names=None alone.
    return NamedSharding(mesh, spec)

  return jax.tree.map(sharding, axes, is_leaf=_is_axes)


def place(shapes: Any, names: Axes, sharding: NamedSharding) -> Any:
  """Says where the arrays of one parameter lie, and in which order.

  A stack of layers lies in memory layer after layer, whatever the order of its
  axes: a scan then reads a layer where it is. In the order of its axes, XLA for
  TPU first copies the whole stack, and with it the whole base. And what varies
  fastest is never a short axis, such as a rank of 4, which a TPU pads to 128.

  Args:
    shapes: an array's, or a quantised parameter's.
    names: the parameter's logical axes.
    sharding: the parameter's.

  Returns:
    `shapes` with a `format` each, which `jax.jit` and `device_put` take.
  """

  def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    spec = PartitionSpec(*_splittable(x, tuple(sharding.spec)))
    where: Any = NamedSharding(sharding.mesh, spec)
    order = _memory_order(where.shard_shape(x.shape), names)
    if order != sorted(order):
      where = Format(MemoryLayout(tuple(order)), where)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

  return jax.tree.map(placed, shapes)


def put(x: np.ndarray, where: Any) -> jax.Array:
  """Uploads what every process holds whole: each its own shards.

  Args:
    x: on the host.
    where: a sharding or a format.

  Note: `jax.device_put` would have all processes compare `x` first.
  """
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def check_divides(shapes: Tree, shardings: Tree) -> None:
  """Raises UserError if a mesh axis does not divide what it would split.

  Args:
    shapes: of parameters.
    shardings: of the same, from `shardings`.
  """

  def check(path, leaf: Array, sharding: NamedSharding) -> None:
    mesh = sharding.mesh.shape
    for size, axis in zip(leaf.shape, sharding.spec, strict=False):
      if axis is not None and size % mesh[axis]:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        raise UserError(
          f'MESH = {tuple(mesh.values())} (data, model) would split an axis of '
          f'{size} of {name} {tuple(leaf.shape)} over {axis} = {mesh[axis]}, '
          f'which does not divide it. Choose a {axis} axis that does.'
        )

  jax.tree_util.tree_map_with_path(check, shapes, shardings)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Examples are split over `data`."""
  return NamedSharding(mesh, PartitionSpec('data'))


def replicated(mesh: Mesh) -> NamedSharding:
  """The same whole value on every device."""
  return NamedSharding(mesh, PartitionSpec())


def _memory_order(shape: Sequence[int], names: Axes) -> list[int]:
  """Axes of an array in one device's memory, the slowest first."""
  order = list(range(len(shape)))
  # Moving an axis across axes of size 1 is no other order, and jax would take
  # the two for different ones.
  layers = names.index('layers') if 'layers' in names else 0
  if order and shape[layers] > 1 and math.prod(shape[:layers]) > 1:
    order.insert(0, order.pop(layers))
  if order and min(shape) > 1 and shape[order[-1]] < _LANES:
    inner = order[1:] if layers else order
    longest = max(inner, key=lambda i: shape[i])
    if shape[longest] > shape[order[-1]]:
      order.remove(longest)
      order.append(longest)
  return order


def _splittable(x: Any, axes: Sequence[Any]) -> list[Any]:
  """Those of `axes` along which there is something to split."""
  return [
    name if n > 1 else None for n, name in zip(x.shape, axes, strict=False)
  ]


def _last(_: Any, new: Any) -> Any:
  return new


def _is_axes(x: object) -> bool:
  return isinstance(x, tuple | PartitionSpec)
