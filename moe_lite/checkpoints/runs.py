"""Checkpoints of our own loop, with Orbax.

A checkpoint holds what trains (layers apart), the optimizer's state, the random
key, the position in the data, and a description: the base it belongs to, the
method, and every leaf's shape. It never holds the frozen base. It lies under
`<run folder>/checkpoints/<step>/` and appears there whole or not at all.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.parameters import unrolled
from moe_lite.core.types import Tree

FOLDER = 'checkpoints'

# Items of a checkpoint.
TRAINABLE = 'trainable'
OPTIMIZER = 'optimizer'
DESCRIPTION = 'description'
DATA = 'data'


class DataPositionHandler(ocp.CheckpointHandler):
  """Writes one file of bytes a data shard, from the process that was given it.

  Whichever process reads a shard later finds its file.
  """

  def save(self, directory: epath.Path, args: 'SaveDataPosition') -> None:
    for name, position in args.position.items():
      (directory / name).write_bytes(position)

  def restore(
    self, directory: epath.Path, args: 'RestoreDataPosition'
  ) -> dict[str, bytes]:
    paths = {name: directory / name for name in args.names}
    return {n: path.read_bytes() for n, path in paths.items() if path.exists()}


@ocp.args.register_with_handler(DataPositionHandler, for_save=True)
@dataclasses.dataclass
class SaveDataPosition(ocp.args.CheckpointArgs):
  position: Mapping[str, bytes]


@ocp.args.register_with_handler(DataPositionHandler, for_restore=True)
@dataclasses.dataclass
class RestoreDataPosition(ocp.args.CheckpointArgs):
  names: Sequence[str]


class Checkpoints:
  """The checkpoints of one run, for the loop that writes them."""

  def __init__(self, run_folder: str, keep: int | None = None):
    """Args: `keep`, how many of the latest to keep; None for all."""
    if keep is not None and keep < 1:
      raise UserError(f'KEEP = {keep} must be at least 1, or None for all.')
    self._manager = _manager(
      run_folder,
      ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True
      ),
    )

  def latest_step(self) -> int | None:
    """The last whole checkpoint's step."""
    return max(_whole_steps(self._manager), default=None)

  def save(
    self,
    step: int,
    trainable: Tree,
    optimizer: Any,
    data_position: Mapping[str, bytes],
    description: Mapping[str, Any],
  ) -> None:
    """Starts writing; returns as soon as the device's values are copied.

    Args:
      step: how many steps are done.
      trainable: what trains, in loop or scan form.
      optimizer: any tree of arrays that the loop needs to go on.
      data_position: by data shard, of those that this process saves.
      description: for JSON; `step`, `tree` and `optimizer` (path to shape
        and dtype) are added.

    Raises:
      UserError: if something that is no checkpoint stands in the way.
    """
    trainable, optimizer = _unstack((trainable, _by_name(optimizer)))
    description = {
      **description,
      'step': step,
      'tree': _shapes(trainable),
      'optimizer': _shapes(optimizer),
    }
    is_saved = self._manager.save(
      step,
      args=ocp.args.Composite(
        **{
          TRAINABLE: ocp.args.PyTreeSave(trainable),
          OPTIMIZER: ocp.args.PyTreeSave(optimizer),
          DATA: SaveDataPosition(data_position),
          DESCRIPTION: ocp.args.JsonSave(description),
        }
      ),
    )
    if not is_saved:
      raise UserError(
        f'{self._manager.directory} holds step {self._manager.latest_step()}, '
        f'which is no whole checkpoint of this run, so step {step} cannot be '
        'saved there. Remove that folder and run the same command again.'
      )

  def description(self, step: int) -> dict[str, Any]:
    """What `save` was given to say of the checkpoint."""
    return _restore_item(
      self._manager, step, DESCRIPTION, ocp.args.JsonRestore()
    )

  def restore(
    self,
    step: int,
    trainable: Tree,
    optimizer: Any,
    data_shards: Sequence[str] = (),
  ) -> tuple[Tree, Any, dict[str, bytes]]:
    """Restores what `save` was given, onto the shardings of the arguments.

    Args:
      step: of an existing checkpoint.
      trainable: shapes, dtypes and shardings.
      optimizer: likewise.
      data_shards: names of those whose position is wanted.

    Returns:
      The trainable tree, the optimizer's tree, and the data position: by data
      shard, of those that the checkpoint has.

    Raises:
      UserError: if the checkpoint holds other leaves than these.
    """
    saved = self.description(step)
    names = _by_name(optimizer)
    on_disk = unrolled(trainable), unrolled(names)
    problem = difference(saved['tree'], _shapes(on_disk[0]))
    if problem:
      raise UserError(
        f'The checkpoint at step {step} of {self._manager.directory} holds '
        f'another method than this run: {problem}'
      )
    problem = difference(saved['optimizer'], _shapes(on_disk[1]))
    if problem:
      raise UserError(
        f'The checkpoint at step {step} of {self._manager.directory} is of '
        f'another OPTIMIZER than this run: {problem}'
      )
    values = self._restore_arrays(step, TRAINABLE, on_disk[0])
    slots = self._restore_arrays(step, OPTIMIZER, on_disk[1])
    flat = parameters.flatten(_stack_like(slots, names))
    restored_optimizer = jax.tree_util.tree_map_with_path(
      lambda path, _: flat[_name(path)], optimizer
    )
    return (
      _stack_like(values, trainable),
      restored_optimizer,
      _restore_item(
        self._manager, step, DATA, RestoreDataPosition(list(data_shards))
      ),
    )

  def reached_preemption(self, step: int) -> bool:
    """Whether the platform told any process of a pod to stop soon."""
    return self._manager.reached_preemption(step)

  def wait(self) -> None:
    """Returns when everything saved is on disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    self._manager.close()

  def _restore_arrays(self, step: int, item: str, abstract: Tree) -> Tree:
    return _restore_item(
      self._manager,
      step,
      item,
      ocp.args.PyTreeRestore(
        item=abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
      ),
    )


def is_run_folder(path: str) -> bool:
  """Whether a run of ours has begun there."""
  return (epath.Path(path) / FOLDER).is_dir()


def restore_trainable(
  run_folder: str, step: int | None = None
) -> tuple[Tree, dict[str, Any]]:
  """Reads what a run trained, onto the host.

  Args:
    run_folder: its MODEL_DIR.
    step: of a checkpoint; the last one by default.

  Returns:
    The trainable parameters, unrolled, as NumPy arrays; and the description:
    `step`, `base` (source and fingerprint), `method`, `trainable` (the
    predicate), `tree` (path to shape and dtype).

  Raises:
    UserError: if there is no such checkpoint.
  """
  with _reading(run_folder, step) as (manager, step, description):
    abstract = parameters.unflatten(
      {
        path: np.empty(shape, np.dtype(dtype))
        for path, (shape, dtype) in description['tree'].items()
      }
    )
    restore_args = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract
    )
    trainable = _restore_item(
      manager,
      step,
      TRAINABLE,
      ocp.args.PyTreeRestore(item=abstract, restore_args=restore_args),
    )
    return trainable, description


def describe(run_folder: str, step: int | None = None) -> dict[str, Any]:
  """The description that `restore_trainable` returns, and raises, alone."""
  with _reading(run_folder, step) as (_, _, description):
    return description


def check_fits(trainable: Tree, wanted: Tree, run_folder: str) -> None:
  """Raises UserError unless a run's leaves are those that a network wants.

  Args:
    trainable: from `restore_trainable`.
    wanted: shapes, unrolled.
    run_folder: for the message.
  """
  problem = difference(_shapes(trainable), _shapes(wanted))
  if problem:
    raise UserError(
      f'The run {run_folder} holds another method than this command names: '
      f'{problem}'
    )


def difference(
  saved: Mapping[str, Any], wanted: Mapping[str, Any], most: int = 4
) -> str:
  """What differs between two `tree`s of a description; '' where nothing."""
  lines = []
  for path in sorted(set(wanted) - set(saved)):
    lines.append(f'{path} is not in the checkpoint.{nearest(path, saved, 1)}')
  for path in sorted(set(saved) - set(wanted)):
    lines.append(f'{path} is in the checkpoint, but not wanted now.')
  for path in sorted(set(saved) & set(wanted)):
    # The list's first entry is a shape, as JSON holds it.
    old, new = list(saved[path][0]), list(wanted[path][0])
    if old != new:
      lines.append(f'{path} is {old} in the checkpoint, now {new}.')
  if not lines:
    return ''
  if len(lines) > most:
    lines = [*lines[:most], f'... and {len(lines) - most} more leaves.']
  return '\n'.join(
    [
      '',
      *(f'  {line}' for line in lines),
      'Give the methods/ gin file, macros (NUM_EXPERTS, RANK, ...) and '
      'OPTIMIZER that it was trained with (its config.gin has them), or '
      'another MODEL_DIR.',
    ]
  )


@contextlib.contextmanager
def _reading(
  run_folder: str, step: int | None
) -> Iterator[tuple[ocp.CheckpointManager, int, dict[str, Any]]]:
  """Opens a run at a step, the last by default, with its description."""
  if not is_run_folder(run_folder):
    raise UserError(
      f'{run_folder!r} is no run folder: it has no folder {FOLDER}/. Give the '
      'MODEL_DIR of a training run.'
    )
  manager = _manager(
    run_folder, ocp.CheckpointManagerOptions(read_only=True, create=False)
  )
  try:
    steps = _whole_steps(manager)
    if not steps:
      raise UserError(
        f'The run {run_folder} has no whole checkpoint yet. Wait until it has '
        'written one (SAVE_PERIOD), or resume it.'
      )
    if step is None:
      step = steps[-1]
    if step not in steps:
      raise UserError(
        f'The run {run_folder} has no checkpoint at step {step}; it has '
        f'{", ".join(map(str, steps))}.'
      )
    try:
      description = _restore_item(
        manager, step, DESCRIPTION, ocp.args.JsonRestore()
      )
      description['tree'].items()
      yield manager, step, description
    except UserError:
      raise
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
      raise UserError(
        f'The checkpoint of {run_folder} at step {step} is damaged: '
        f'{(str(error).strip() or type(error).__name__).splitlines()[0]}. Give '
        'an earlier step, if there is one.'
      ) from error
  finally:
    manager.close()


def _manager(
  run_folder: str, options: ocp.CheckpointManagerOptions
) -> ocp.CheckpointManager:
  return ocp.CheckpointManager(
    epath.Path(run_folder).absolute() / FOLDER,
    options=options,
    item_handlers={
      TRAINABLE: ocp.PyTreeCheckpointHandler(),
      OPTIMIZER: ocp.PyTreeCheckpointHandler(),
      DATA: DataPositionHandler(),
      DESCRIPTION: ocp.JsonCheckpointHandler(),
    },
  )


@jax.jit
def _unstack(trees: tuple[Tree, Tree]) -> tuple[Tree, ...]:
  return tuple(map(parameters.unstack_layers, trees))


def _stack_like(tree: Tree, wanted: Tree) -> Tree:
  """What was read, in the form of `wanted` and where that lies."""
  is_apart = (
    parameters.flatten(tree).keys() == parameters.flatten(wanted).keys()
  )
  convert = (lambda x: x) if is_apart else parameters.stack_layers
  places = jax.tree.map(lambda x: x.format, wanted)
  return jax.jit(convert, out_shardings=places)(tree)


def _whole_steps(manager: ocp.CheckpointManager) -> list[int]:
  """Orbax skips its own temporary folders; this also skips what others left."""
  return [
    step
    for step in sorted(manager.all_steps())
    if (manager.directory / str(step) / DESCRIPTION).exists()
  ]


def _restore_item(
  manager: ocp.CheckpointManager, step: int, item: str, args: Any
) -> Any:
  restored = manager.restore(step, args=ocp.args.Composite(**{item: args}))
  return restored[item]


def _shapes(tree: Tree) -> dict[str, Any]:
  return {
    path: [list(leaf.shape), np.dtype(leaf.dtype).name]
    for path, leaf in parameters.flatten(tree).items()
  }


def _by_name(tree: Any) -> Tree:
  """Optax's named tuples as nested dicts, which Orbax reads back as such."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return parameters.unflatten({_name(path): leaf for path, leaf in leaves})


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')
