"""The position in the data as an item of an Orbax checkpoint.

Data are read in shards. The process that reads a shard saves its position, in a
file of its own; whichever process reads the shard later finds that file.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import orbax.checkpoint as ocp
from etils import epath


class DataPositionHandler(ocp.CheckpointHandler):
  """Writes and reads one file of bytes for each data shard."""

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
  """What to save.

  Attributes:
    position: shard to position, of the shards that this process reads.
  """

  position: Mapping[str, bytes]


@ocp.args.register_with_handler(DataPositionHandler, for_restore=True)
@dataclasses.dataclass
class RestoreDataPosition(ocp.args.CheckpointArgs):
  """What to restore.

  Attributes:
    names: the shards whose position is wanted. Those that the checkpoint lacks
      are left out of the result.
  """

  names: Sequence[str]
