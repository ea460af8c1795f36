"""A trained model, or its frozen base alone, ready to run.

Evaluation, inference and reports all begin here: the network that gin
configures, the base, and what a run trained on it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from moe_lite.checkpoints import bases as base_checkpoints
from moe_lite.checkpoints import exported, runs
from moe_lite.checkpoints.t5x import native
from moe_lite.core import memory, parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.meshes import AUTO, first_mesh
from moe_lite.core.types import Tree
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.description import check_method, describe_run

# What CHECKPOINT_PATH names for no run at all.
BASE = 'base'
# The fingerprint of a base that a checkpoint does not name.
_NOT_RECORDED = 'not recorded'
# Of a device's memory, at most, where the mesh is chosen here.
_SHARE_OF_PARAMETERS = 0.7


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A model with its parameters on a mesh.

  Attributes:
    model: its network has no adapters where it is the frozen base alone.
    params: merged, in the network's form.
    mesh: where they lie.
    facts: what results say of it, for JSON: `checkpoint`, `step`, `base`
      (source and fingerprint), `method`, counts, and `trainable_fingerprint`,
      which tells two runs of one folder apart.
  """

  model: EncoderDecoderModel
  params: Tree
  mesh: Mesh
  facts: Mapping[str, Any]

  def compile(
    self, function: Callable[..., Any], gather: bool = True
  ) -> Callable[..., Any]:
    """`function(params, *args)` as one of args alone, compiled by shape.

    NumPy arrays in them, the same in every process, are split over the mesh's
    data axis by their first; other values go to every device.

    Args:
      function: to compile.
      gather: whether every process gets the whole result; otherwise its first
        axis stays split.
    """
    split = partitioning.batch_sharding(self.mesh)
    whole = partitioning.replicated(self.mesh)
    jitted = jax.jit(function, out_shardings=whole if gather else split)

    def place(value: Any) -> Any:
      is_split = isinstance(value, np.ndarray)
      return partitioning.put(value, split) if is_split else value

    def call(*args: Any) -> Any:
      with partitioning.axis_rules(self.mesh):
        return jitted(self.params, *jax.tree.map(place, args))

    return call

  def check_batch(self, batch_size: int) -> None:
    """Raises UserError unless the mesh can split such a batch."""
    parts = self.mesh.shape['data']
    if batch_size < 1 or batch_size % parts:
      raise UserError(
        f'BATCH_SIZE = {batch_size} must be a positive multiple of the data '
        f'axis of the mesh, {parts}.'
      )


def load(
  model: EncoderDecoderModel,
  checkpoint_path: str,
  initial_checkpoint_path: str,
  trainable: str = parameters.TRAINABLE_ADAPTERS,
  base_dtype: str = 'bfloat16',
  mesh: partitioning.MeshShape = None,
  step: int | None = None,
  fully_sharded: bool = False,
) -> Loaded:
  """Loads a run, or the frozen base alone.

  Args:
    model: with the method that the run trained.
    checkpoint_path: the folder of a run; that of adapters that were exported,
      or its address on Hugging Face's hub; a T5X checkpoint of a run (which
      names neither its method nor its base, so that only shapes are checked);
      or 'base'.
    initial_checkpoint_path: the base; see `checkpoints.base.load_base`.
    trainable: see `parameters.split`.
    base_dtype: that the base is held in.
    mesh: (data, model); None puts every device on data; 'auto' takes the
      first of `plan.meshes` on which the parameters leave room.
    step: of the run's checkpoint; None takes the last.
    fully_sharded: split the base also over data.

  Raises:
    UserError: if the run trained another method, or stands on another base.
  """
  run = exported.local(checkpoint_path)
  if checkpoint_path == BASE:
    network = model.module.clone(
      config=dataclasses.replace(model.module.config, adapters={}, decisions={})
    )
    model = EncoderDecoderModel(network, model.z_loss, model.label_smoothing)
    trained: Tree = {}
    description: dict[str, Any] | None = None
  elif native.is_checkpoint(run):
    # T5X writes down neither the method nor the base: shapes must do.
    trained = parameters.unflatten(native.read(run))
    description = {
      **describe_run(model.module.config, trainable),
      'step': native.read_step(run),
      'base': {
        'source': str(initial_checkpoint_path),
        'fingerprint': _NOT_RECORDED,
      },
    }
  else:
    if exported.is_portable(run):
      trained, description = exported.load(run)
    else:
      trained, description = runs.restore_trainable(run, step)
    check_method(
      checkpoint_path,
      description,
      describe_run(model.module.config, trainable),
    )
  where = _lay_out(model, base_dtype, mesh, fully_sharded)
  held = parameters.flatten(where.hold(base_dtype))
  params, base_facts = {}, None
  if description is not None:
    base_facts = description['base']
    unrolled = jax.eval_shape(parameters.unstack_layers, where.abstract)
    runs.check_fits(
      trained, parameters.split(unrolled, trainable)[0], checkpoint_path
    )
    form = parameters.like_network(trained, model.module.config.scan_layers)
    places = parameters.flatten(where.hold('float32'))
    params = {
      path: partitioning.put(np.asarray(leaf), places[path].format)
      for path, leaf in parameters.flatten(form).items()
    }
  if set(held) - set(params):
    base, info = base_checkpoints.load_base(
      initial_checkpoint_path,
      parameters.unflatten(
        {x: leaf for x, leaf in held.items() if not parameters.is_adapter(x)}
      ),
      model.module.config,
    )
    params = {**parameters.flatten(base), **params}
    base_facts = dataclasses.asdict(info)
    recorded = description and description['base']
    if recorded and recorded['fingerprint'] != _NOT_RECORDED:
      base_checkpoints.check_same(checkpoint_path, recorded, base_facts)
  count = parameters.count(trained)
  facts = {
    'checkpoint': checkpoint_path,
    'step': None if description is None else description['step'],
    'base': base_facts,
    'method': {} if description is None else description['method'],
    'trainable_parameters': count,
    'base_parameters': sum(
      math.prod(leaf.shape)
      for path, leaf in parameters.flatten(where.abstract).items()
      if not parameters.is_adapter(path)
    ),
    'trainable_fingerprint': parameters.fingerprint(trained) if count else None,
  }
  return Loaded(model, parameters.unflatten(params), where.mesh, facts)


def _lay_out(
  model: EncoderDecoderModel,
  base_dtype: str,
  mesh: partitioning.MeshShape,
  fully_sharded: bool,
) -> layout.Layout:
  """The layout on a mesh, which is chosen where it is 'auto'."""
  everything = parameters.EVERYTHING
  if mesh != AUTO:
    device_mesh = partitioning.make_mesh(mesh)
    return layout.layout(model, everything, device_mesh, fully_sharded)

  def attempt(shape: tuple[int, int], split: bool) -> layout.Layout:
    device_mesh = partitioning.make_mesh(shape)
    where = layout.layout(model, everything, device_mesh, split)
    limit = memory.capacity(device_mesh.devices.flat[0])
    room = None if limit is None else int(_SHARE_OF_PARAMETERS * limit)
    memory.check_arguments(where.hold(base_dtype), room)
    return where

  return first_mesh(attempt)
