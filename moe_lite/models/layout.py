"""Where the parameters of a model lie on a mesh: shapes, types and shardings.

Nothing is allocated here. The training step is compiled from these shapes
before the base is read. The same shapes also compile it for a machine that is
not present.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from moe_lite.core import (
  logical_axes,
  parameters,
  partitioning,
  quantization,
  unknown_axes,
)
from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  IS_RIGHT,
  LOSS_WEIGHTS,
  PACKING,
  TASK_IDS,
  TASK_NUMBERS,
)
from moe_lite.core.types import Batch, DType, Shape, Tree
from moe_lite.models.model import EncoderDecoderModel


@dataclasses.dataclass(frozen=True)
class Layout:
  """The shapes of all parameters, and where they lie on the mesh.

  Attributes:
    mesh: the mesh.
    abstract: the float32 shapes of the parameters, in the form that the network
      runs.
    axes: the logical axes of the parameters.
    parameters: the shardings of the parameters.
  """

  mesh: Mesh
  abstract: Tree
  axes: Tree
  parameters: Tree

  @property
  def replicated(self) -> NamedSharding:
    """The sharding of an array that every device holds as a whole."""
    return partitioning.replicated(self.mesh)

  def whole(self, shape: Shape, dtype: DType) -> jax.ShapeDtypeStruct:
    """Describes an array that every device holds as a whole."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=self.replicated)

  def hold(self, base_dtype: str, leaving_out: str = '') -> Tree:
    """Describes the parameters as devices hold them: shapes, types, shardings.

    Args:
      base_dtype: the type of the base; see `quantization.hold`. Adapters are
        always float32.
      leaving_out: a regular expression over whole paths. Parameters that match
        are left out. It names what trains if only the frozen base is wanted.

    Returns:
      The parameters as the network takes them.

    Raises:
      UserError: if the type is unknown.
    """
    quantization.check_dtype(base_dtype)
    axes, shardings = (
      parameters.flatten(tree) for tree in (self.axes, self.parameters)
    )
    kept = {
      path: leaf
      for path, leaf in parameters.flatten(self.abstract).items()
      if not (leaving_out and re.fullmatch(leaving_out, path))
    }
    dtypes = {
      path: 'float32' if parameters.is_adapter(path) else base_dtype
      for path in kept
    }
    held = {
      path: partitioning.place(shapes, axes[path], shardings[path])
      for path, shapes in quantization.abstract(kept, dtypes).items()
    }
    return parameters.unflatten(held)

  def trainable_shapes(self, trainable: str) -> Tree:
    """Describes what trains: in float32, in the form that the network runs.

    Args:
      trainable: the pattern of what trains; see `parameters.split`.
    """
    return parameters.split(self.hold('float32'), trainable)[0]

  def like_trainable(self, shapes: Any) -> Any:
    """Describes where the state of an optimizer lies.

    A slot lies where its parameter lies. The rest is small, and every device
    holds all of it.

    Args:
      shapes: the shapes of the state. A leaf is the slot of a parameter if its
        path ends with that of the parameter, and their shapes are equal.
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
  """Lays out the parameters of a model on a mesh.

  Args:
    model: the model.
    trainable: the pattern of what trains; see `parameters.split`.
    mesh: the mesh.
    fully_sharded: whether the base is split over `data` too, no matter whether
      it trains.

  Raises:
    UserError: if a parameter has no logical axes or unknown ones, if the mesh
      does not divide the parameters, or if the pattern distinguishes layers
      that the network scans over.
  """
  variables = model.abstract_variables()
  axes = partitioning.axis_names(variables['params_axes'])
  params = variables['params']
  unknown_axes.check(params, axes)
  shardings = partitioning.shardings(axes, mesh)
  if fully_sharded:
    split = parameters.flatten(
      partitioning.shardings(axes, mesh, logical_axes.FULLY_SHARDED_RULES)
    )
    # Adapters are small. To gather them would cost more than it would save.
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
      f'TRAINABLE = {trainable!r} distinguishes layers. A network with '
      'SCAN_LAYERS = True stacks them, so they can only train together: give '
      '--gin.SCAN_LAYERS=False.'
    )
  return Layout(
    mesh=mesh,
    abstract=params,
    axes=axes,
    parameters=shardings,
  )


def abstract_batch(
  batch_size: int,
  lengths: Mapping[str, int],
  packing: bool,
  mesh: Mesh,
  num_tasks: int = 0,
  num_choices: int = 0,
) -> Batch:
  """Describes a training batch of SeqIO's EncDecFeatureConverter.

  With answer choices, it is a batch of `data.ChoiceDataset`.

  Args:
    batch_size: the number of rows, B.
    lengths: the lengths of 'inputs' and 'targets', and the size of
      'inputs_embedding' if the data set has it.
    packing: whether rows are packed.
    mesh: the mesh that the batch is split over.
    num_tasks: how many tasks the tokens are numbered by; 0 if they are not.
    num_choices: how many targets each input has to choose from; 0 if a row has
      just one target.

  Returns:
    The shape, type and sharding of each feature.
  """
  names = [ENCODER_INPUTS, DECODER_TARGETS, DECODER_INPUTS, LOSS_WEIGHTS]
  names += [*(PACKING if packing else ()), *(TASK_IDS if num_tasks else ())]
  sharding = partitioning.batch_sharding(mesh)
  batch: dict[str, Any] = {
    name: jax.ShapeDtypeStruct(
      (batch_size, lengths['inputs' if 'encoder' in name else 'targets']),
      jnp.int32,
      sharding=sharding,
    )
    for name in names
  }
  if num_choices:
    del batch[LOSS_WEIGHTS]
    of_choices = (batch_size, num_choices, lengths['targets'])
    for name, shape in {
      DECODER_TARGETS: of_choices,
      DECODER_INPUTS: of_choices,
      IS_RIGHT: of_choices[:2],
    }.items():
      batch[name] = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding)
  if num_tasks:
    batch[TASK_NUMBERS] = jax.ShapeDtypeStruct(
      (batch_size, num_tasks), jnp.int32, sharding=sharding
    )
  if INPUTS_EMBEDDING in lengths:
    shape = (batch_size, lengths[INPUTS_EMBEDDING])
    batch[INPUTS_EMBEDDING] = jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=sharding
    )
  return batch


def _with_sharding(x: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
