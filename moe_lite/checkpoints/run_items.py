"""How the checkpoints of a run lie on disk: Orbax's items in a folder a step.

A checkpoint holds what trains (layers apart), the optimizer's state with the
random key, the position in the data, and a description. It never holds the
frozen base. It lies under `<run folder>/checkpoints/<step>/`, and appears there
whole or not at all.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from moe_lite.checkpoints.data_positions import DataPositionHandler
from moe_lite.checkpoints.description import Description
from moe_lite.core import integrity
from moe_lite.core.errors import Damaged, UserError
from moe_lite.core.logs import verbosity
from moe_lite.core.types import Tree

FOLDER = 'checkpoints'

# The items of a checkpoint.
TRAINABLE = 'trainable'
OPTIMIZER = 'optimizer'
DESCRIPTION = 'description'
DATA = 'data'


def open_manager(
  run_folder: str, options: ocp.CheckpointManagerOptions | None = None
) -> ocp.CheckpointManager:
  """Opens Orbax's manager of a run's checkpoints.

  Args:
    run_folder: the folder of the run.
    options: how checkpoints are kept; None only reads them.
  """
  # Orbax warns of what `read_only` asks for.
  with verbosity(logging.ERROR):
    options = options or ocp.CheckpointManagerOptions(
      read_only=True, create=False
    )
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


def whole_steps(manager: ocp.CheckpointManager) -> list[int]:
  """The steps of whole checkpoints, in order.

  Orbax skips its own temporary folders. This also skips folders of steps that
  hold no description: they are not whole checkpoints of a run.
  """
  return [
    step
    for step in sorted(manager.all_steps())
    if (manager.directory / str(step) / DESCRIPTION).exists()
  ]


def describe(manager: ocp.CheckpointManager, step: int) -> Description:
  """What the checkpoint of a step says of itself.

  Raises:
    Damaged: if it was changed after it was written, or cannot be read.
  """
  with reading(manager, step):
    said = restore_item(manager, step, DESCRIPTION, ocp.args.JsonRestore())
    where = f'{DESCRIPTION} of {manager.directory}/{step}'
    return Description.from_json(integrity.unseal(said, where))


def check(
  manager: ocp.CheckpointManager,
  step: int,
  item: str,
  tree: Tree,
  description: Description,
) -> None:
  """Compares the leaves of an item with what was saved.

  Every process of a run must call this.

  Args:
    manager: the checkpoints.
    step: which one was read.
    item: `TRAINABLE` or `OPTIMIZER`.
    tree: what was read, layers apart.
    description: what the checkpoint says of itself.

  Raises:
    Damaged: if a leaf has other values.
  """
  where = f'{item} of {manager.directory}/{step}'
  if description.hashes is not None:
    saved = integrity.check_given(where, description.hashes.get(item))
    integrity.check_same(where, saved, integrity.checksums(tree))


@contextlib.contextmanager
def reading(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
  """Turns what is raised for a damaged checkpoint into `Damaged`."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    # Orbax, tensorstore and JSON have many errors for files that are missing,
    # cut off or changed, and nothing else is read within the block.
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise Damaged(
      f'The checkpoint at step {step} of {manager.directory} is damaged: '
      f'{reason}.'
    ) from error


def restore_item(
  manager: ocp.CheckpointManager, step: int, item: str, args: Any
) -> Any:
  """Restores one item of a checkpoint."""
  restored = manager.restore(step, args=ocp.args.Composite(**{item: args}))
  return restored[item]
