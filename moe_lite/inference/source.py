"""Where a model comes from: its network, what a run trained, and the base.

Evaluation, inference and reports all load a model in this one way.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from moe_lite.checkpoints import bases, exported, formats
from moe_lite.checkpoints.description import (
  NOT_RECORDED,
  BaseInfo,
  Description,
  check_same,
)
from moe_lite.checkpoints.leaf_shapes import check_fits
from moe_lite.checkpoints.stages import told
from moe_lite.core import memory, parameters, partitioning
from moe_lite.core.meshes import AUTO, first_mesh
from moe_lite.core.types import Tree
from moe_lite.inference.facts import Facts
from moe_lite.inference.trained import Trained
from moe_lite.models import layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.description import describe_run
from moe_lite.t5.method import check_method
from moe_lite.t5.tasks import known_tasks

# The CHECKPOINT_PATH that stands for the frozen base without any run.
BASE = 'base'
# Where the mesh is chosen here, parameters may take this share of a device's
# memory: what a program computes needs the rest.
_LARGEST_SHARE = 0.7


@dataclasses.dataclass(frozen=True)
class ModelSource:
  """Everything that loading a run, or the frozen base alone, needs to know.

  Attributes:
    model: the model, with the method that the run trained.
    checkpoint_path: what was trained. It is the folder of a run; the folder of
      exported adapters, or its address on Hugging Face's hub; a T5X checkpoint
      of a run, which names neither its method nor its base, so that only shapes
      are checked; or 'base' for the frozen base alone.
    initial_checkpoint_path: the base; see `bases.load_base`.
    trainable: which parameters the run trained; see `parameters.split`.
    base_dtype: the type in which the base is held; see `quantization.hold`.
    mesh: (data, model); None puts every device on data; 'auto' takes the first
      of `meshes.meshes` on which parameters fill at most 70 % of a device.
    step: the step of the run's checkpoint; None takes the last one.
    fully_sharded: whether the base is also split over the data axis.
  """

  model: EncoderDecoderModel
  checkpoint_path: str
  initial_checkpoint_path: str
  trainable: str = parameters.TRAINABLE_ADAPTERS
  base_dtype: str = 'bfloat16'
  mesh: partitioning.MeshShape = None
  step: int | None = None
  fully_sharded: bool = False

  @classmethod
  def of_run(
    cls, run: str, configured: Mapping[str, Any], step: int | None = None
  ) -> Self:
    """The source of a run by its own configuration.

    Args:
      run: the folder of the run.
      configured: the arguments of `training.train` that the run was given.
      step: the step of its checkpoint; None takes the last one.
    """
    return cls(
      model=configured['model'],
      checkpoint_path=run,
      initial_checkpoint_path=configured['initial_checkpoint_path'],
      trainable=configured['trainable'],
      base_dtype=configured['base_dtype'],
      mesh=configured.get('mesh'),
      step=step,
      fully_sharded=configured.get('fully_sharded', False),
    )

  def load(self) -> Trained:
    """Loads the model onto its mesh.

    Raises:
      UserError: if the run trained another method, or if it stands on another
        base.
    """
    leaves, description = self._read_trained()
    model = _without_adapters(self.model) if description is None else self.model
    where = self._lay_out(model)
    params: dict[str, Any] = {}
    base = None
    if description is not None:
      params, base = self._place_trained(leaves, where), description.base
    held = parameters.flatten(where.hold(self.base_dtype))
    if set(held) - set(params):
      frozen, base = self._load_base(model, held, description)
      params = {**frozen, **params}
    assert base is not None  # It was loaded, or a run trained all of it.
    return Trained(
      model,
      parameters.unflatten(params),
      where.mesh,
      _facts(self.checkpoint_path, leaves, description, base, where),
      known_tasks(self.checkpoint_path, model.module.config, description),
    )

  def _read_trained(self) -> tuple[Tree, Description | None]:
    """Reads what was trained, layers apart, and what it says of itself.

    For the base alone there is nothing to read, and the description is None.
    """
    if self.checkpoint_path == BASE:
      return {}, None
    # A T5X checkpoint records neither its method nor its base. This stands in
    # for both, so that only its shapes are checked.
    assumed = Description(
      describe_run(self.model.module.config, self.trainable),
      BaseInfo(str(self.initial_checkpoint_path), NOT_RECORDED),
    )
    path = exported.local(self.checkpoint_path)
    leaves, description = formats.read_trained(path, self.step, assumed)
    check_method(self.checkpoint_path, description.method, assumed.method)
    return leaves, description

  def _lay_out(self, model: EncoderDecoderModel) -> layout.Layout:
    """Lays the parameters out on the mesh, which is chosen if it is 'auto'."""

    def attempt(shape: partitioning.MeshShape, split: bool) -> layout.Layout:
      mesh = partitioning.make_mesh(shape)
      return layout.layout(model, parameters.EVERYTHING, mesh, split)

    def attempt_within(shape: tuple[int, int], split: bool) -> layout.Layout:
      where = attempt(shape, split)
      limit = memory.capacity(where.mesh.devices.flat[0])
      room = None if limit is None else int(_LARGEST_SHARE * limit)
      memory.check_arguments(where.hold(self.base_dtype), room)
      return where

    if self.mesh == AUTO:
      return first_mesh(attempt_within)
    return attempt(self.mesh, self.fully_sharded)

  def _place_trained(
    self, leaves: Tree, where: layout.Layout
  ) -> dict[str, jax.Array]:
    """Puts what was trained on the mesh, by path, in the network's form."""
    unrolled = jax.eval_shape(parameters.unstack_layers, where.abstract)
    wanted = parameters.held(unrolled, self.trainable)
    check_fits(leaves, wanted, self.checkpoint_path)
    form = parameters.like_network(leaves, self.model.module.config.scan_layers)
    places = parameters.flatten(where.hold('float32'))
    return {
      path: partitioning.put(np.asarray(leaf), places[path].format)
      for path, leaf in parameters.flatten(form).items()
    }

  def _load_base(
    self,
    model: EncoderDecoderModel,
    held: Mapping[str, Any],
    description: Description | None,
  ) -> tuple[dict[str, Any], BaseInfo]:
    """Loads the base, and checks that the run stands on it.

    Args:
      model: the network of the base.
      held: path to shape and place of every parameter.
      description: what the run says of itself; None for the base alone.

    Returns:
      Path to parameter, and which base it is.
    """
    base, info = bases.load_base(
      self.initial_checkpoint_path,
      parameters.unflatten(
        {x: leaf for x, leaf in held.items() if not parameters.is_adapter(x)}
      ),
      model.module.config,
    )
    if description is not None:
      check_same(self.checkpoint_path, description.base, info)
    return parameters.flatten(base), info


def _without_adapters(model: EncoderDecoderModel) -> EncoderDecoderModel:
  config = dataclasses.replace(model.module.config, adapters={}, decisions={})
  network = model.module.clone(config=config)
  return EncoderDecoderModel(network, model.z_loss, model.label_smoothing)


def _facts(
  checkpoint_path: str,
  leaves: Tree,
  description: Description | None,
  base: BaseInfo,
  where: layout.Layout,
) -> Facts:
  """What results say of a model.

  Args:
    checkpoint_path: where it was trained, or 'base'.
    leaves: what was trained, layers apart.
    description: what the run says of itself; None for the base alone.
    base: which base it is.
    where: all parameters.
  """
  count = parameters.count(leaves)
  return Facts(
    checkpoint=checkpoint_path,
    step=None if description is None else description.step,
    base=base,
    method={} if description is None else description.method.sites,
    trainable_parameters=count,
    base_parameters=sum(
      math.prod(leaf.shape)
      for path, leaf in parameters.flatten(where.abstract).items()
      if not parameters.is_adapter(path)
    ),
    trainable_fingerprint=parameters.fingerprint(leaves) if count else None,
    stages=told(description.stages if description else None) or None,
  )
