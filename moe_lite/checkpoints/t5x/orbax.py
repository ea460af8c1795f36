"""Reads the checkpoints that T5X wrote through Orbax, without T5X.

Such a checkpoint is a folder (`.../checkpoint_1100000`) with a folder `state`,
which Orbax can read.

Source: T5X's `OrbaxCheckpointManagerInterface`.
"""

import functools
import os
import posixpath
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from moe_lite.checkpoints import buckets
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.core.errors import UserError

_STATE = 'state'
# A folder of Orbax's has one of these files; since 2024 it is the first.
_FILES = ('_METADATA', 'checkpoint')
_TARGET = 'target/'
_STEP = 'state/step'


def is_checkpoint(path: str) -> bool:
  """Whether such a checkpoint lies there."""
  return any(
    buckets.exists(posixpath.join(path, _STATE, name)) for name in _FILES
  )


def arrays(path: str) -> dict[str, Stored]:
  """Opens all parameters: path to array, stacked where they are saved so.

  Raises:
    UserError: if Orbax cannot read it, or it holds no parameters.
  """
  found = {
    name.removeprefix(_TARGET): Stored(
      tuple(leaf.shape),
      np.dtype(leaf.dtype),
      functools.partial(_read, path, name),
    )
    for name, leaf in _metadata(path).items()
    if name.startswith(_TARGET)
  }
  if not found:
    raise UserError(f"{path} holds no parameters: it is not T5X's.")
  return found


def read_step(path: str) -> int:
  """Reads the step at which a checkpoint was saved."""
  return int(_read(path, _STEP))


def _metadata(path: str) -> dict[str, Any]:
  """Path to shape and type of all arrays, with the optimizer's state."""
  try:
    metadata = ocp.PyTreeCheckpointHandler().metadata(_folder(path))
  except Exception as error:  # Orbax raises many kinds.
    raise UserError(
      f'{path} is not a checkpoint that Orbax can read: {_first_line(error)}. '
      f'{_advice(path)}'
    ) from error
  return traverse_util.flatten_dict(metadata.tree, sep='/')


def _read(path: str, name: str) -> np.ndarray:
  """Reads one array."""
  tree, wanted = (
    traverse_util.unflatten_dict({name: value}, sep='/')
    for value in (0, ocp.RestoreArgs(restore_type=np.ndarray))
  )
  try:
    restored = ocp.PyTreeCheckpointHandler().restore(
      _folder(path),
      args=ocp.args.PyTreeRestore(
        item=tree, restore_args=wanted, partial_restore=True
      ),
    )
  except Exception as error:  # Orbax raises many kinds.
    raise UserError(
      f'{name} of {path} cannot be read: {_first_line(error)}'
    ) from error
  (leaf,) = jax.tree.leaves(restored)
  return np.asarray(leaf)


def _folder(path: str) -> epath.Path:
  """The folder that Orbax reads, which it wants as an absolute path."""
  whole = path if buckets.is_bucket(path) else os.path.abspath(path)
  return epath.Path(whole) / _STATE


def _advice(path: str) -> str:
  if buckets.is_bucket(path):
    return (
      'Orbax reads buckets only with TensorFlow or gcsfs: copy the checkpoint '
      'to a folder.'
    )
  return 'It may have been cut off; fetch it again.'


def _first_line(error: Exception) -> str:
  return (str(error).strip() or type(error).__name__).splitlines()[0]
