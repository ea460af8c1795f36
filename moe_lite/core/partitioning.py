"""Parameters with logical axes, and where arrays lie on a mesh.

The code that makes a parameter or an activation names the axes of its array.
The rules of `logical_axes` map these names to mesh axes. This is the only
module that uses `flax.linen.partitioning`, the legacy annotation API that T5X
requires. It records the names in the collection `params_axes`.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import flax
import jax
import numpy as np
from flax.errors import ScopeParamShapeError
from flax.linen import partitioning as flax_partitioning
from jax.experimental import mesh_utils
from jax.experimental.layout import Format, Layout
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from moe_lite.core.errors import UserError
from moe_lite.core.logical_axes import RULES
from moe_lite.core.types import Array, Axes, DType, Initializer, Shape, Tree

MESH_AXES = ('data', 'model')
# A TPU pads the axis that varies fastest to a multiple of this.
_LANES = 128
# (data, model); None puts all devices on `data`. A caller that allows 'auto'
# finds a mesh with `meshes.first_mesh`.
MeshShape = Sequence[int] | str | None

# This is Flax's scan. It also adds the axis of the layers to `params_axes`.
scan_with_axes = flax_partitioning.scan_with_axes


def param(
  module: flax.linen.Module,
  name: str,
  init: Initializer,
  shape: Shape,
  dtype: DType,
  axes: Axes,
) -> Array:
  """Declares a parameter together with its logical axes.

  Args:
    module: the module that the parameter belongs to.
    name: the parameter's name within the module.
    init: a function of (key, shape, dtype) that draws the initial value.
    shape: the parameter's shape.
    dtype: the parameter's type.
    axes: the logical axis of each dimension of the shape, each one of
      `logical_axes.OF_PARAMETERS`. The layout of a model refuses others.

  Returns:
    The parameter's value.

  Raises:
    ValueError: if there are not as many axes as dimensions.
  """
  if len(shape) != len(axes):
    raise ValueError(
      f'{name}: the shape {tuple(shape)} needs {len(shape)} axis names, but '
      f'{axes} were given.'
    )
  if module.has_variable('params', name):
    value = _existing(module, name, tuple(shape))
  else:
    value = module.param(name, init, tuple(shape), dtype)
  module.sow(
    'params_axes',
    f'{name}_axes',
    flax_partitioning.AxisMetadata(tuple(axes)),
    reduce_fn=_last,
  )
  # A quantised parameter consists of two arrays. The scale has axes of size 1.
  return jax.tree.map(lambda x: constrain(x, _splittable(x, axes)), value)


def _existing(module: flax.linen.Module, name: str, shape: Shape) -> Any:
  """Returns a parameter that there is.

  `Module.param` would trace the initializer to learn the shape, which takes a
  fifth of the time of tracing a network.
  """
  value = module.get_variable('params', name)
  found = jax.tree.leaves(value)[0].shape
  if found != shape:
    raise ScopeParamShapeError(name, '/'.join(module.path), found, shape)
  return value


def constrain(x: Array, axes: Sequence[str | None]) -> Array:
  """Constrains the sharding of an activation.

  Outside `axis_rules` this does nothing.

  Args:
    x: the activation.
    axes: the logical axis of each dimension of `x`; None leaves it whole.
  """
  return flax_partitioning.with_sharding_constraint(x, PartitionSpec(*axes))


def make_mesh(
  shape: MeshShape = None,
  # jaxlib has no stub for the class.
  devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
  """Returns a `('data', 'model')` mesh.

  Args:
    shape: (data, model). None puts every device on `data`.
    devices: the devices to use. None means all devices.

  Raises:
    UserError: if `shape` is not two positive numbers, if the mesh takes more
      devices than there are, or if it takes no device of some process.
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
      f'but none of process {min(idle)}. Every process must take part. Give '
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
  mesh: Mesh, rules: Sequence[tuple[str, str | None]] = RULES
) -> Iterator[None]:
  """Applies rules to what is traced within the block.

  Args:
    mesh: the mesh that calls of `constrain` and `param` refer to.
    rules: pairs of a logical axis and a mesh axis, or None for no mesh axis.
  """
  with jax.set_mesh(mesh), flax_partitioning.axis_rules(rules):
    yield


@contextlib.contextmanager
def within_shard() -> Iterator[None]:
  """Makes `constrain` ignore the axis `batch` within the block.

  A function that `jax.vmap` maps over `data` with `spmd_axis_name` needs this,
  because it sees only the batch of one shard.
  """
  rules = flax_partitioning.get_axis_rules()
  with flax_partitioning.axis_rules(
    [(name, axis) for name, axis in rules if name != 'batch']
  ):
    yield


def shard_size(shape: Sequence[int], axes: Sequence[str]) -> int:
  """Returns how many numbers of an activation a device holds.

  Args:
    shape: the shape of the activation.
    axes: the logical axis of each dimension.
  """
  rules = flax_partitioning.get_axis_rules()
  spec = flax_partitioning.logical_to_mesh_axes(axes, rules) if rules else None
  mesh = jax.sharding.get_abstract_mesh()
  parts = [mesh.shape.get(axis, 1) for axis in spec or () if axis is not None]
  return math.prod(shape) // math.prod(parts)


def platform() -> str:
  """Returns what a program is traced for, such as 'cpu' or 'tpu'.

  It is that of the mesh, which may be of devices that are not present.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return jax.default_backend()
  return mesh.abstract_device.platform


def split_first(x: Array) -> Array:
  """Splits an array over `data` along its first axis."""
  return constrain(x, ('batch', *[None] * (x.ndim - 1)))


def axis_names(params_axes: Tree) -> Tree:
  """Returns the logical axes of every parameter.

  Args:
    params_axes: the collection of that name in a module's variables.

  Returns:
    A tree of plain dicts like the parameters', with a tuple for each parameter.
  """
  # Flax gives a FrozenDict of PartitionSpecs.
  names = flax.core.unfreeze(flax_partitioning.get_axis_names(params_axes))
  return jax.tree.map(tuple, names, is_leaf=_is_axes)


def shardings(
  axes: Tree,
  mesh: Mesh,
  rules: Sequence[tuple[str, str | None]] = RULES,
) -> Tree:
  """Maps a tree of logical axes to a tree of shardings.

  Args:
    axes: the logical axes of every parameter; see `axis_names`.
    mesh: the mesh of the shardings.
    rules: see `axis_rules`.
  """

  def sharding(names: Axes) -> NamedSharding:
    spec = flax_partitioning.logical_to_mesh_axes(names, rules)
    assert spec is not None  # It would be None only for names=None.
    return NamedSharding(mesh, spec)

  return jax.tree.map(sharding, axes, is_leaf=_is_axes)


def place(shapes: Any, names: Axes, sharding: NamedSharding) -> Any:
  """Adds to the shapes of one parameter where its arrays lie in memory.

  A stack of layers lies in memory layer after layer, in whatever order its axes
  are. A scan can then read each layer in place. If the stack lay in the order
  of its axes, XLA for TPU would first copy the whole stack, and so the whole
  base.

  A short axis, such as a rank of 4, never varies fastest if there is a longer
  one, because a TPU would pad it to 128.

  Args:
    shapes: the shape of an array, or the shapes of a quantised parameter.
    names: the logical axes of the parameter.
    sharding: the sharding of the parameter.

  Returns:
    The shapes, each with a `format` that `jax.jit` and `device_put` take.
  """

  def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    spec = PartitionSpec(*_splittable(x, tuple(sharding.spec)))
    where: Any = NamedSharding(sharding.mesh, spec)
    order = _memory_order(where.shard_shape(x.shape), names)
    if order != sorted(order):
      where = Format(Layout(tuple(order)), where)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

  return jax.tree.map(placed, shapes)


def put(x: np.ndarray, where: Any) -> jax.Array:
  """Uploads an array that every process holds whole on its host.

  Each process uploads the shards of its own devices. `jax.device_put` would
  first let all processes compare `x`.

  Args:
    x: the array, on the host.
    where: the sharding or the format of the result.
  """
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def check_divides(shapes: Tree, shardings: Tree) -> None:
  """Raises UserError if a mesh axis does not divide what it would split.

  Args:
    shapes: the shapes of parameters.
    shardings: the shardings of the same parameters; see `shardings`.
  """

  def check(path, leaf: Array, sharding: NamedSharding) -> None:
    mesh = sharding.mesh.shape
    for size, axis in zip(leaf.shape, sharding.spec, strict=False):
      if axis is not None and size % mesh[axis]:
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        raise UserError(
          f'MESH = {tuple(mesh.values())} (data, model) would split an axis of '
          f'{name} {tuple(leaf.shape)}, but {axis} = {mesh[axis]} does not '
          f'divide its size, {size}. Choose a {axis} axis that does.'
        )

  jax.tree_util.tree_map_with_path(check, shapes, shardings)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of a batch: its rows are split over `data`."""
  return NamedSharding(mesh, PartitionSpec('data'))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def _memory_order(shape: Sequence[int], names: Axes) -> list[int]:
  """Returns the order of an array's axes in memory, the slowest first.

  Args:
    shape: the shape of the part of the array that one device holds.
    names: the logical axes of the array.
  """
  order = list(range(len(shape)))
  # An axis that moves across axes of size 1 leaves the memory as it is, but JAX
  # would take the new order for a different one.
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
  """Returns `axes`, with None for those along which `x` cannot be split."""
  return [
    name if n > 1 else None for n, name in zip(x.shape, axes, strict=False)
  ]


def _last(_: Any, new: Any) -> Any:
  return new


def _is_axes(x: object) -> bool:
  return isinstance(x, tuple | PartitionSpec)
