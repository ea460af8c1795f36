"""Where a model's parameters lie on a mesh: shapes, types and places.

Nothing is allocated here. The training step is compiled from these shapes
before the base is read, and the same shapes compile it for a machine that is
not there.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from moe_lite.core import parameters, partitioning, quantization
from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  LOSS_WEIGHTS,
  PACKING,
)
from moe_lite.core.types import Batch, DType, Shape, Tree
from moe_lite.models.model import EncoderDecoderModel


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the parameters lie on the mesh.

  Attributes:
    mesh: the mesh.
    abstract: float32 shapes of all parameters, in the network's form.
    axes: their logical axes.
    parameters: their shardings.
  """

  mesh: Mesh
  abstract: Tree
  axes: Tree
  parameters: Tree

  @property
  def replicated(self) -> NamedSharding:
    return partitioning.replicated(self.mesh)

  def whole(self, shape: Shape, dtype: DType) -> jax.ShapeDtypeStruct:
    """The shape of an array that every device holds."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=self.replicated)

  def hold(self, base_dtype: str, leaving_out: str = '') -> Tree:
    """Parameters as the network takes them, in the types they are held in.

    Args:
      base_dtype: the type of the base; see `quantization.hold`. Adapters are
        float32 whatever it is.
      leaving_out: a regular expression over whole paths. What matches is left
        out, as what trains is where only the frozen base is wanted.

    Raises:
      UserError: for an unknown type.
    """
    quantization.check_dtype(base_dtype)
    axes, shardings = (
      parameters.flatten(tree) for tree in (self.axes, self.parameters)
    )
    held = {}
    for path, leaf in parameters.flatten(self.abstract).items():
      if leaving_out and re.fullmatch(leaving_out, path):
        continue
      dtype = 'float32' if parameters.is_adapter(path) else base_dtype
      shapes = quantization.abstract(path, leaf, dtype)
      held[path] = partitioning.place(shapes, axes[path], shardings[path])
    return parameters.unflatten(held)

  def trainable_shapes(self, trainable: str) -> Tree:
    """What trains: float32, in the network's form."""
    return parameters.split(self.hold('float32'), trainable)[0]

  def like_trainable(self, shapes: Any) -> Any:
    """An optimizer's state: slots lie as their parameters; the rest is small.

    Args:
      shapes: of the state; a slot's path ends with its parameter's, and its
        shape equals that parameter's.
    """
    wanted = parameters.flatten(self.hold('float32'))

    def placed(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
      name = jax.tree_util.keystr(path, simple=True, separator='/')
      for parameter, like in wanted.items():
        if name.endswith('/' + parameter) and leaf.shape == like.shape:
          return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=like.format
          )
      return _with_sharding(leaf, self.replicated)

    return jax.tree_util.tree_map_with_path(placed, shapes)


def layout(
  model: EncoderDecoderModel,
  trainable: str,
  mesh: Mesh,
  fully_sharded: bool = False,
) -> Layout:
  """Lays out a model's parameters.

  Args:
    model: the model.
    trainable: see `parameters.split`.
    mesh: the mesh.
    fully_sharded: also split the base over `data`, whether or not it trains.

  Raises:
    UserError: if the mesh does not divide the parameters.
  """
  variables = model.abstract_variables()
  axes = partitioning.axis_names(variables['params_axes'])
  params = variables['params']
  shardings = partitioning.shardings(axes, mesh)
  if fully_sharded:
    split = parameters.flatten(
      partitioning.shardings(axes, mesh, partitioning.FULLY_SHARDED_RULES)
    )
    # Adapters are small: gathering them would cost more than it saves.
    shardings = parameters.unflatten(
      {
        path: whole if parameters.is_adapter(path) else split[path]
        for path, whole in parameters.flatten(shardings).items()
      }
    )
  partitioning.check_divides(params, shardings)
  unrolled = jax.eval_shape(parameters.unstack_layers, params)
  names = parameters.flatten(parameters.split(unrolled, trainable)[0])
  form, _ = parameters.split(params, trainable)
  if len(names) != len(
    parameters.flatten(jax.eval_shape(parameters.unstack_layers, form))
  ):
    raise UserError(
      f'TRAINABLE = {trainable!r} tells layers apart, which a network with '
      'SCAN_LAYERS = True cannot: give --gin.SCAN_LAYERS=False.'
    )
  return Layout(
    mesh=mesh,
    abstract=params,
    axes=axes,
    parameters=shardings,
  )


def abstract_batch(
  batch_size: int, lengths: Mapping[str, int], packing: bool, mesh: Mesh
) -> Batch:
  """Shapes of a training batch, as SeqIO's EncDecFeatureConverter makes it."""
  names = [ENCODER_INPUTS, DECODER_TARGETS, DECODER_INPUTS, LOSS_WEIGHTS]
  sharding = partitioning.batch_sharding(mesh)
  batch: dict[str, Any] = {
    name: jax.ShapeDtypeStruct(
      (batch_size, lengths['inputs' if 'encoder' in name else 'targets']),
      jnp.int32,
      sharding=sharding,
    )
    for name in [*names, *(PACKING if packing else ())]
  }
  if INPUTS_EMBEDDING in lengths:
    shape = (batch_size, lengths[INPUTS_EMBEDDING])
    batch[INPUTS_EMBEDDING] = jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=sharding
    )
  return batch


def _with_sharding(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
