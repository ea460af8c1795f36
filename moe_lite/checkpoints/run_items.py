"""How the checkpoints of a run lie on disk: Orbax's items in a folder a step.

A checkpoint holds what trains (layers apart), the optimizer's state with the
random key, the position in the data, and a description. It never holds the
frozen base. It lies under `<run folder>/checkpoints/<step>/`, and appears there
whole or not at all.
"""

from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from moe_lite.checkpoints.data_positions import DataPositionHandler

FOLDER = 'checkpoints'

# The items of a checkpoint.
TRAINABLE = 'trainable'
OPTIMIZER = 'optimizer'
DESCRIPTION = 'description'
DATA = 'data'


def open_manager(
  run_folder: str, options: ocp.CheckpointManagerOptions
) -> ocp.CheckpointManager:
  """Opens Orbax's manager of a run's checkpoints."""
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


def restore_item(
  manager: ocp.CheckpointManager, step: int, item: str, args: Any
) -> Any:
  """Restores one item of a checkpoint."""
  restored = manager.restore(step, args=ocp.args.Composite(**{item: args}))
  return restored[item]
