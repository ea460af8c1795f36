"""A training step before it runs: its shapes, its places, its program.

Training compiles a plan and then reads the base; preflight compiles the same
plan for devices that it does not have.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from moe_lite.core import memory, parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.meshes import AUTO, first_mesh
from moe_lite.core.partitioning import MeshShape
from moe_lite.core.types import Batch, Tree
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.training import train_step
from moe_lite.training.optimizers import OptimizerFactory, Schedule


@dataclasses.dataclass(frozen=True)
class Plan:
  """A step and what it takes, as shapes with their places.

  Attributes:
    where: of the parameters.
    optimizer: of the step.
    step: the function.
    state: that it changes.
    base: the frozen parameters, in the network's form.
    batch: of rows.
  """

  where: layout.Layout
  optimizer: optax.GradientTransformation
  step: train_step.Step
  state: train_step.TrainState
  base: Tree
  batch: Batch

  def compile(self) -> Any:
    """The step as a program for the mesh's devices."""
    return train_step.compile_step(
      self.step, self.state, self.base, self.batch, self.where
    )


def plan(
  model: EncoderDecoderModel,
  batch_size: int,
  lengths: Mapping[str, int],
  packing: bool,
  optimizer: OptimizerFactory,
  schedule: Schedule,
  trainable: str,
  base_dtype: str,
  mesh: MeshShape = None,
  fully_sharded: bool = False,
  microbatches: int = 1,
  devices: Sequence[Any] | None = None,
) -> Plan:
  """Plans a step; arguments as of `training.train` and `data.Dataset`.

  Args:
    model: network and losses.
    batch_size: rows of a batch.
    lengths: of a row, {'inputs': L, 'targets': T}.
    packing: whether a row holds several examples.
    optimizer: makes the optimizer of the schedule.
    schedule: step to learning rate.
    trainable: see `parameters.split`.
    base_dtype: see `quantization.hold`.
    mesh: (data, model); None puts every device on data.
    fully_sharded: split the base also over data.
    microbatches: parts that a batch is worked through in.
    devices: of the mesh; those of this process by default.

  Raises:
    UserError: if the mesh does not divide the batch or the parameters.
  """
  device_mesh = partitioning.make_mesh(mesh, devices)
  check_batch(batch_size, microbatches, device_mesh.shape['data'])
  where = layout.layout(model, trainable, device_mesh, fully_sharded)
  transformation = optimizer(schedule)
  state = train_step.abstract_state(transformation, trainable, where)
  # Gradients of a whole base, one a device, would not fit.
  is_small = all(
    map(parameters.is_adapter, parameters.flatten(state.trainable))
  )
  step = train_step.make_step(
    model,
    transformation,
    schedule,
    microbatches,
    shards=device_mesh.shape['data'] if is_small else 1,
  )
  return Plan(
    where=where,
    optimizer=transformation,
    step=step,
    state=state,
    base=where.hold(base_dtype, leaving_out=trainable),
    batch=layout.abstract_batch(batch_size, lengths, packing, device_mesh),
  )


def compile_plan(
  mesh: MeshShape, fully_sharded: bool, **arguments: Any
) -> tuple[Plan, Any]:
  """Plans and compiles a step, on a mesh that is chosen where it is 'auto'.

  Args:
    mesh: see `plan`; 'auto' takes the mesh with the smallest model axis, and
      without full sharding if that fits, on which the step fits the devices.
    fully_sharded: see `plan`; 'auto' decides it itself.
    **arguments: the others of `plan`.

  Returns:
    The plan and its program.

  Raises:
    UserError: if no mesh of these devices fits, or the one given does not.
  """
  if mesh != AUTO:
    return _compile(plan(mesh=mesh, fully_sharded=fully_sharded, **arguments))
  return first_mesh(
    lambda shape, split: _compile(
      plan(mesh=shape, fully_sharded=split, **arguments)
    )
  )


def check_batch(batch_size: int, microbatches: int, data_axis: int) -> None:
  """Raises UserError unless the mesh can split every microbatch."""
  if batch_size % (microbatches * data_axis):
    raise UserError(
      f'BATCH_SIZE = {batch_size} must be divisible by MICROBATCHES = '
      f'{microbatches} times the data axis of the mesh, {data_axis}.'
    )


def _compile(made: Plan) -> tuple[Plan, Any]:
  limit = memory.capacity(made.where.mesh.devices.flat[0])
  arguments = (made.state, made.base, made.batch)
  return made, memory.compile_within(made.compile, arguments, limit)
