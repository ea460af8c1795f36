"""Plans and compiles a training step before any array exists.

Training compiles the step first, and reads the base after that. Preflight
compiles the same step for devices that the machine does not have.
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
  """A training step, and the shapes and places of its arguments.

  Attributes:
    where: the layout of the parameters on the mesh.
    optimizer: the optimizer of the step.
    step: the function (state, base, batch) to compile.
    state: the shapes of the state, which the step changes.
    base: the shapes of the frozen parameters, in the network's form.
    batch: the shapes of a batch.
  """

  where: layout.Layout
  optimizer: optax.GradientTransformation
  step: train_step.Step
  state: train_step.TrainState
  base: Tree
  batch: Batch

  def compile(self) -> Any:
    """Compiles the step for the devices of the mesh."""
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
  num_tasks: int = 0,
  num_choices: int = 0,
) -> Plan:
  """Plans a training step.

  Args:
    model: the network and its losses.
    batch_size: how many rows a batch has.
    lengths: how many tokens a row has, {'inputs': S, 'targets': T}.
    packing: whether a row holds several examples.
    optimizer: makes the optimizer of a schedule.
    schedule: maps the number of a step to a learning rate.
    trainable: a regular expression over whole paths. What matches trains.
    base_dtype: the type of the frozen base, one of `quantization.BASE_DTYPES`.
    mesh: the shape (data, model) of the mesh. None puts every device on `data`.
    fully_sharded: whether the base is also split over `data`.
    microbatches: how many parts of a batch are worked through in turn.
    devices: the devices of the mesh. None means all devices of the run.
    num_tasks: how many tasks the tokens are numbered by; 0 if they are not.
    num_choices: how many targets each input has to choose from; 0 if a row has
      just one target.

  Raises:
    UserError: if the mesh does not divide the batch or the parameters.
  """
  device_mesh = partitioning.make_mesh(mesh, devices)
  check_batch(batch_size, microbatches, device_mesh.shape['data'])
  where = layout.layout(model, trainable, device_mesh, fully_sharded)
  transformation = optimizer(schedule)
  state = train_step.abstract_state(transformation, trainable, where)
  # With several shards, every device holds all gradients (see `make_step`).
  # Those of adapters fit, but those of a whole base would not.
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
    batch=layout.abstract_batch(
      batch_size, lengths, packing, device_mesh, num_tasks, num_choices
    ),
  )


def compile_plan(
  mesh: MeshShape, fully_sharded: bool, **arguments: Any
) -> tuple[Plan, Any]:
  """Plans and compiles a training step, and chooses its mesh if asked to.

  Args:
    mesh: the shape of the mesh, see `plan`; or 'auto' for the first of
      `meshes.meshes` on which the step fits the memory of the devices.
    fully_sharded: see `plan`. With 'auto' it is ignored, because the choice of
      a mesh includes it.
    **arguments: the other arguments of `plan`.

  Returns:
    The plan, and the compiled step.

  Raises:
    UserError: if the step does not fit the mesh, or no mesh fits.
  """
  if mesh != AUTO:
    return _compile(plan(mesh=mesh, fully_sharded=fully_sharded, **arguments))
  return first_mesh(
    lambda shape, split: _compile(
      plan(mesh=shape, fully_sharded=split, **arguments)
    )
  )


def check_batch(batch_size: int, microbatches: int, data_axis: int) -> None:
  """Raises UserError unless the mesh can split every microbatch.

  Args:
    batch_size: how many rows a batch has.
    microbatches: how many parts a batch has.
    data_axis: the size of the mesh's `data` axis.
  """
  if batch_size % (microbatches * data_axis):
    raise UserError(
      f'BATCH_SIZE = {batch_size} must be divisible by MICROBATCHES = '
      f'{microbatches} times the data axis of the mesh, {data_axis}.'
    )


def _compile(made: Plan) -> tuple[Plan, Any]:
  limit = memory.capacity(made.where.mesh.devices.flat[0])
  arguments = (made.state, made.base, made.batch)
  return made, memory.compile_within(made.compile, arguments, limit)
