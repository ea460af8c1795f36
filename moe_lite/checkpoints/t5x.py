"""T5X's native checkpoints, without T5X.

Such a checkpoint is a folder (`.../checkpoint_1100000`) with a msgpack file
`checkpoint`, which holds small leaves and, for large ones, where their array
lies beside it, in zarr format. Source: T5X's `checkpoints.py`, version 3.
"""

import posixpath
from collections.abc import Mapping
from typing import Any

import flax.serialization
import numpy as np
import tensorstore
from etils import epath
from flax import traverse_util

from moe_lite.checkpoints import folders
from moe_lite.errors import UserError

FILE = 'checkpoint'
_TARGET = 'target/'


def is_checkpoint(path: str) -> bool:
  """Whether such a checkpoint lies there."""
  return (epath.Path(path) / FILE).is_file()


def read(path: str) -> dict[str, np.ndarray]:
  """Path to leaf of all parameters, as they are saved.

  Raises:
    UserError: if the file is not one of T5X, or an array cannot be read.
  """
  contents = (epath.Path(path) / FILE).read_bytes()
  try:
    state = flax.serialization.msgpack_restore(contents)['optimizer']
  except Exception as error:  # msgpack raises many kinds.
    raise UserError(
      f"{path}/{FILE} is not T5X's: {type(error).__name__}: {error}. It may be "
      'cut off; fetch it again.'
    ) from error
  places = traverse_util.flatten_dict(state, sep='/', is_leaf=_is_leaf)
  pending = {
    name.removeprefix(_TARGET): _open(path, leaf)
    if isinstance(leaf, Mapping)
    else leaf
    for name, leaf in places.items()
    if name.startswith(_TARGET)
  }
  leaves = {}
  for name, leaf in pending.items():
    try:
      leaves[name] = np.asarray(
        leaf.result().read().result()
        if isinstance(leaf, tensorstore.Future)
        else leaf
      )
    except ValueError as error:
      raise UserError(
        f'{name} of {path} cannot be read: {str(error).splitlines()[0]}'
      ) from error
  return leaves


def read_step(path: str) -> int:
  """The step at which it was saved."""
  contents = (epath.Path(path) / FILE).read_bytes()
  state = flax.serialization.msgpack_restore(contents)['optimizer']['state']
  return int(np.asarray(state['step']))


def write(
  path: str,
  leaves: Mapping[str, np.ndarray],
  step: int,
  overwrite: bool = False,
) -> None:
  """Writes parameters without optimizer state, all within the one file.

  For a few MB, such as adapters: T5X reads leaves of either kind.

  Args:
    path: a folder, which T5X wants to be called `checkpoint_<step>`.
    leaves: path to leaf, in the form of the network that will read them.
    step: that they were trained for.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists.
  """
  state = {'step': np.int32(step), 'param_states': {}}
  target = traverse_util.unflatten_dict(dict(leaves), sep='/')
  contents = {'version': 3, 'optimizer': {'target': target, 'state': state}}
  with folders.new(path, overwrite) as folder:
    (folder / FILE).write_bytes(flax.serialization.msgpack_serialize(contents))


def _is_leaf(_: Any, node: Any) -> bool:
  return isinstance(node, Mapping) and 'driver' in node


def _open(folder: str, spec: Mapping[str, Any]) -> Any:
  """Opens an array that lies beside the file, wherever it was written first."""
  stored = spec.get('kvstore', spec).get('path', '')
  place = posixpath.join(folder, posixpath.basename(stored.rstrip('/')))
  return tensorstore.open(
    {'driver': 'zarr', 'kvstore': _kvstore(place)}, open=True, read=True
  )


def _kvstore(place: str) -> dict[str, str]:
  if place.startswith('gs://'):
    bucket, _, path = place.removeprefix('gs://').partition('/')
    return {'driver': 'gcs', 'bucket': bucket, 'path': path}
  return {'driver': 'file', 'path': str(epath.Path(place).absolute())}
