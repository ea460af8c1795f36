"""The checkpoints of a run, for the training loop that writes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from moe_lite.checkpoints import run_items
from moe_lite.checkpoints.data_positions import (
  RestoreDataPosition,
  SaveDataPosition,
)
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.leaf_shapes import difference, shapes
from moe_lite.core import integrity, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree

# The folder of a run with the checkpoints that were found to be damaged.
DAMAGED = 'damaged'
# The one leaf of the optimizer's tree of a run that was made of an export.
IMPORTED = 'imported'


class Checkpoints:
  """The checkpoints of one run; see `run_items` for what they hold."""

  def __init__(self, run_folder: str, keep: int | None = None):
    """Opens the checkpoints of a run, which may have none yet.

    Args:
      run_folder: the run's MODEL_DIR.
      keep: how many of the latest checkpoints to keep; None keeps all.

    Raises:
      UserError: if `keep` is less than 1.
    """
    if keep is not None and keep < 1:
      raise UserError(f'KEEP = {keep} must be at least 1, or None for all.')
    self._best = _OneStep()
    policies = [checkpoint_managers.LatestN(keep), self._best]
    self._manager = run_items.open_manager(
      run_folder,
      ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        cleanup_tmp_directories=True,
      ),
    )

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    # Closing waits for all processes, so a process that failed does not close.
    if jax.process_count() == 1 or kind is None:
      self.close()

  def latest_step(self) -> int | None:
    """The step of the last whole checkpoint."""
    return max(run_items.whole_steps(self._manager), default=None)

  def last_saved(self) -> int | None:
    """Waits for what is being written, and returns `latest_step()`."""
    self.wait()
    return self.latest_step()

  def save(
    self,
    step: int,
    trainable: Tree,
    optimizer: Any,
    data_position: Mapping[str, bytes],
    description: Description,
    best: int | None = None,
  ) -> None:
    """Starts writing; returns as soon as the device's values are copied.

    Args:
      step: how many steps are done.
      trainable: what trains, in loop or scan form.
      optimizer: any tree of arrays that the loop needs to go on.
      data_position: data shard to position, of the shards that this process
        saves.
      description: what the run says of itself; its `step`, `tree`,
        `optimizer` and `hashes` are filled in here.
      best: the step of the best checkpoint so far, which is kept besides the
        last ones.

    Raises:
      UserError: if something that is not a checkpoint of this run stands in the
        way.
    """
    trainable, optimizer = _unstack((trainable, _by_name(optimizer)))
    description = dataclasses.replace(
      description,
      step=step,
      tree=shapes(trainable),
      optimizer=shapes(optimizer),
      hashes={
        run_items.TRAINABLE: integrity.checksums(trainable),
        run_items.OPTIMIZER: integrity.checksums(optimizer),
      },
    )
    self._best.step = best
    is_saved = self._manager.save(
      step,
      args=ocp.args.Composite(
        **{
          run_items.TRAINABLE: ocp.args.PyTreeSave(trainable),
          run_items.OPTIMIZER: ocp.args.PyTreeSave(optimizer),
          run_items.DATA: SaveDataPosition(data_position),
          run_items.DESCRIPTION: ocp.args.JsonSave(
            integrity.seal(description.to_json())
          ),
        }
      ),
    )
    if not is_saved:
      raise UserError(
        f'{self._manager.directory} holds step {self._manager.latest_step()}, '
        f'which is not a whole checkpoint of this run, so step {step} cannot '
        'be saved there. Remove that folder and run the same command again.'
      )

  def description(self, step: int) -> Description:
    """What the checkpoint of a step says of itself.

    Raises:
      Damaged: see `run_items.describe`.
    """
    return run_items.describe(self._manager, step)

  def set_aside(self, step: int) -> epath.Path:
    """Moves a damaged checkpoint out of the run's way, and says where it is."""
    self.wait()
    source = self._manager.directory / str(step)
    target = self._manager.directory.parent / DAMAGED / str(step)
    while target.exists():
      target = target.parent / f'{target.name}_again'
    if jax.process_index() == 0:
      target.parent.mkdir(exist_ok=True)
      source.rename(target)
    multihost_utils.sync_global_devices(f'{source} is set aside')
    self._manager.reload()
    return target

  def restore(
    self,
    step: int,
    trainable: Tree,
    optimizer: Any,
    data_shards: Sequence[str] = (),
  ) -> tuple[Tree, Any, dict[str, bytes]]:
    """Restores what `save` was given, onto the shardings of the arguments.

    Args:
      step: the step of an existing checkpoint.
      trainable: shapes, types and shardings of what trains.
      optimizer: shapes, types and shardings of the optimizer's tree.
      data_shards: the names of the data shards whose position is wanted.

    Returns:
      The trainable tree, the optimizer's tree, and data shard to position, of
      the wanted shards that the checkpoint has.

    Raises:
      Damaged: if what is read is not what was saved.
      UserError: if the checkpoint holds other leaves than these.
    """
    saved = self.description(step)
    names = _by_name(optimizer)
    on_disk = parameters.unrolled(trainable), parameters.unrolled(names)
    problem = difference(saved.tree, shapes(on_disk[0]))
    if problem:
      raise UserError(
        f'The checkpoint at step {step} of {self._manager.directory} holds '
        f'another method than this run: {problem}'
      )
    problem = difference(saved.optimizer or {}, shapes(on_disk[1]))
    if problem:
      raise UserError(
        f'The checkpoint at step {step} of {self._manager.directory} is of '
        f'another OPTIMIZER than this run: {problem}'
      )
    with run_items.reading(self._manager, step):
      values = self._restore_arrays(step, run_items.TRAINABLE, on_disk[0])
      slots = self._restore_arrays(step, run_items.OPTIMIZER, on_disk[1])
    for item, tree in (
      (run_items.TRAINABLE, values),
      (run_items.OPTIMIZER, slots),
    ):
      run_items.check(self._manager, step, item, tree, saved)
    flat = parameters.flatten(_stack_like(slots, names))
    restored_optimizer = jax.tree_util.tree_map_with_path(
      lambda path, _: flat[_name(path)], optimizer
    )
    positions = run_items.restore_item(
      self._manager,
      step,
      run_items.DATA,
      RestoreDataPosition(list(data_shards)),
    )
    return _stack_like(values, trainable), restored_optimizer, positions

  def reached_preemption(self, step: int) -> bool:
    """Whether the platform told any process of a pod to stop soon."""
    return self._manager.reached_preemption(step)

  def wait(self) -> None:
    """Returns when everything saved is on disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits until everything saved is on disk, and ends."""
    self._manager.close()

  def _restore_arrays(self, step: int, item: str, abstract: Tree) -> Tree:
    return run_items.restore_item(
      self._manager,
      step,
      item,
      ocp.args.PyTreeRestore(
        item=abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
      ),
    )


class _OneStep(checkpoint_managers.PreservationPolicy):
  """Keeps the checkpoint of one step."""

  step: int | None = None

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> list[bool]:
    return [checkpoint.step == self.step for checkpoint in checkpoints]


@jax.jit
def _unstack(trees: tuple[Tree, Tree]) -> tuple[Tree, ...]:
  return tuple(map(parameters.unstack_layers, trees))


def _stack_like(tree: Tree, wanted: Tree) -> Tree:
  """Brings what was read into the form of `wanted`, and to where that lies."""
  is_apart = (
    parameters.flatten(tree).keys() == parameters.flatten(wanted).keys()
  )
  convert = (lambda x: x) if is_apart else parameters.stack_layers
  places = jax.tree.map(lambda x: x.format, wanted)
  return jax.jit(convert, out_shardings=places)(tree)


def _by_name(tree: Any) -> Tree:
  """Turns Optax's named tuples into nested dicts, which Orbax can read back."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return parameters.unflatten({_name(path): leaf for path, leaf in leaves})


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')
