"""What a run begins with on its mesh: the base, adapters, and a state."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.description import (
  NO_BASE,
  BaseInfo,
  Description,
  check_same,
)
from moe_lite.checkpoints.initial_adapters import InitialAdapters
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters
from moe_lite.core.errors import Damaged
from moe_lite.core.progress import say
from moe_lite.core.types import Tree
from moe_lite.data.batches import Batches
from moe_lite.models.layout import Layout
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5.config import T5Config
from moe_lite.training import starting, train_step, warm_start
from moe_lite.training.plan import Plan
from moe_lite.training.train_step import TrainState


@dataclasses.dataclass(frozen=True)
class Start:
  """What the state before the first step is made of.

  Attributes:
    model: the model.
    planned: the plan of the step.
    trainable: the pattern of what trains.
    seed: the seed of the run.
    adapters: reads the adapters to begin with, if any.
    loaded: parameters of the base that train.
  """

  model: EncoderDecoderModel
  planned: Plan
  trainable: str
  seed: int
  adapters: Callable[[], InitialAdapters | None]
  loaded: Tree

  def state(self) -> tuple[TrainState, Tree]:
    """Returns that state, and the adapters that do not train."""
    where = self.planned.where
    taken, fixed = warm_start.place(
      self.adapters(), self.model, where, self.trainable, self.seed
    )
    state = train_step.init_state(
      self.model,
      self.planned.optimizer,
      self.planned.state,
      self.seed,
      parameters.merge(taken, self.loaded),
    )
    return state, fixed

  def save(self, checkpoints: Checkpoints, description: Description) -> None:
    """Saves that state, and the beginning of the data, as step 0."""
    state, fixed = self.state()
    checkpoints.save(
      0,
      parameters.merge(state.trainable, fixed),
      beside_trainable(state),
      {},
      dataclasses.replace(description, batches=0),
    )


def load_base(
  path: str | None,
  where: Layout,
  trainable: str,
  dtype: str,
  network: T5Config,
) -> tuple[Tree, Tree, BaseInfo]:
  """Reads a base into its place on the mesh.

  Args:
    path: the base; see `bases.load_base` for what it may be. None if everything
      trains, from random values.
    where: the layout of the parameters on the mesh.
    trainable: a regular expression over whole paths. What matches trains.
    dtype: the type in which the frozen parameters are held. Those that train
      are float32.
    network: the network that the base is for.

  Returns:
    The frozen parameters, the parameters that train, and which base it is. Both
    trees are in the network's form, and are empty without a base.

  Raises:
    UserError: if there is no base at `path`, or it does not fit the network.
  """
  if path is None:
    return {}, {}, NO_BASE
  is_trainable = re.compile(trainable).fullmatch
  wanted = {
    **parameters.flatten(where.hold('float32')),
    **parameters.flatten(where.hold(dtype, leaving_out=trainable)),
  }
  params, info = bases.load_base(
    path,
    parameters.unflatten(
      {x: leaf for x, leaf in wanted.items() if not parameters.is_adapter(x)}
    ),
    network,
  )
  leaves = parameters.flatten(params)
  frozen = {n: x for n, x in leaves.items() if not is_trainable(n)}
  trained = {n: x for n, x in leaves.items() if is_trainable(n)}
  return parameters.unflatten(frozen), parameters.unflatten(trained), info


def restore(
  model_dir: str,
  checkpoints: Checkpoints,
  before: starting.Before,
  state: TrainState,
  fixed: Tree,
  batches: Batches,
  description: Description,
) -> tuple[TrainState, Tree, starting.Before] | None:
  """Reads the state of a checkpoint, and moves `batches` to its place.

  A damaged checkpoint is set aside, a message says so, and the one before it is
  taken.

  If the data of this command differ from those of the checkpoint, `batches`
  stays at its beginning, and a message says so.

  Args:
    model_dir: the folder of the run. Messages name it.
    checkpoints: the checkpoints of the run.
    before: the checkpoint to read.
    state: the shapes, types and places of the state.
    fixed: those of the adapters that do not train.
    batches: the stream of this command's data, at its beginning.
    description: what this command's checkpoints say; see `describe`.

  Returns:
    The state of the checkpoint, its adapters that do not train, and which
    checkpoint was taken. None if the run begins anew, because all its
    checkpoints are damaged.

  Raises:
    UserError: if the checkpoint belongs to another base, or holds other
      parameters.
  """
  step, saved = before.step, before.description
  check_same(model_dir, saved.base, description.base)
  try:
    values, rest, position = checkpoints.restore(
      step,
      parameters.merge(state.trainable, fixed),
      beside_trainable(state),
      batches.shard_names(),
    )
  except Damaged as error:
    starting.set_aside(checkpoints, step, error)
    earlier = starting.find_before(model_dir, checkpoints, description.method)
    if earlier is None:
      return None
    return restore(
      model_dir, checkpoints, earlier, state, fixed, batches, description
    )
  if changed := starting.changes_of_data(saved, description):
    say(
      f'The data differ from those before step {step} ({"; ".join(changed)}). '
      'They start from their beginning.'
    )
  elif step and not batches.restore(position, saved.batches or 0):
    say(f'Read {batches.count} batches again to find the place in the data.')
  leaves = parameters.flatten(values)
  others = parameters.flatten(fixed)
  trained = {x: leaf for x, leaf in leaves.items() if x not in others}
  return (
    state.replace(trainable=parameters.unflatten(trained), **rest),
    parameters.unflatten({x: leaves[x] for x in others}),
    before,
  )


def beside_trainable(state: TrainState) -> dict[str, Any]:
  """Returns the parts of a state that a checkpoint holds beside what trains."""
  return {
    'step': state.step,
    'optimizer': state.optimizer,
    'rng': state.rng,
  }
