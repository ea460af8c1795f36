"""Reads and writes T5X's checkpoints, without T5X.

A native checkpoint is a folder (`.../checkpoint_1100000`) with a msgpack file
`checkpoint`. The file holds small leaves. For a large leaf it says where its
array lies: beside the file, in zarr format. See `orbax` for the checkpoints
that T5X wrote through Orbax.

Source: T5X's `checkpoints.py`, version 3 of the format.
"""

import contextlib
import dataclasses
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

import flax.serialization
import numpy as np
import tensorstore
from etils import epath
from flax import traverse_util

from moe_lite.checkpoints import buckets
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.format import BaseFormat, Found
from moe_lite.checkpoints.lazy_arrays import Stored, held, read_all
from moe_lite.checkpoints.run_items import TRAINABLE
from moe_lite.checkpoints.t5x import orbax
from moe_lite.core import files, integrity, json_files, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree

FILE = 'checkpoint'
_TARGET = 'target'
# The entry in which a run of this package under T5X says what it is.
DESCRIPTION = 'moe_lite'
# The largest leaf, in bytes, that is written into the file itself. T5X reads
# leaves of any size from either place.
LARGEST_WITHIN = 2**16


def is_checkpoint(path: str) -> bool:
  """Whether a native checkpoint, or one of Orbax's, lies there."""
  return _is_native(path) or orbax.is_checkpoint(path)


def arrays(path: str) -> dict[str, Stored]:
  """Opens all parameters: path to array, stacked where they are saved so.

  Raises:
    UserError: if the checkpoint is not T5X's, or if an array is missing,
      damaged or of another shape; the message names the array.
  """
  if not _is_native(path):
    return orbax.arrays(path)
  with _understood(path):
    places: dict[str, Any] = traverse_util.flatten_dict(
      _optimizer(path).get(_TARGET, {}), sep='/', is_leaf=_is_place
    )
    if not places:
      raise UserError(f"{path}/{FILE} holds no parameters: it is not T5X's.")
    # Opening begins for all of them before the first is waited for.
    opened = {
      name: _open(path, place)
      for name, place in places.items()
      if isinstance(place, Mapping)
    }
    return {
      name: _beside(path, name, opened[name], place)
      if name in opened
      else _within(path, name, place)
      for name, place in places.items()
    }


def read(path: str) -> dict[str, np.ndarray]:
  """Reads path to leaf of all parameters, layers apart; see `arrays`."""
  return read_all(arrays(path))


def read_step(path: str) -> int:
  """Reads the step at which a checkpoint was saved."""
  if not _is_native(path):
    return orbax.read_step(path)
  with _understood(path):
    return int(np.asarray(_optimizer(path)['state']['step']))


def write(
  path: str,
  leaves: Mapping[str, np.ndarray],
  step: int,
  overwrite: bool = False,
) -> None:
  """Writes parameters as a native checkpoint, without an optimizer's state.

  Args:
    path: a folder. T5X expects the name `checkpoint_<step>`.
    leaves: path to leaf, in the form of the network that will read them.
    step: the number of steps that they were trained for.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists.
  """
  with files.new(path, overwrite) as folder:
    target = {
      name: leaf
      if leaf.nbytes <= LARGEST_WITHIN
      else _write_zarr(folder, name, leaf)
      for name, leaf in leaves.items()
    }
    state = {'step': np.int32(step), 'param_states': {}}
    optimizer = {
      'target': traverse_util.unflatten_dict(target, sep='/'),
      'state': state,
    }
    (folder / FILE).write_bytes(
      flax.serialization.msgpack_serialize(
        {'version': 3, 'optimizer': optimizer}
      )
    )


class _T5X(BaseFormat):
  """A native checkpoint of T5X's, or one that T5X wrote through Orbax."""

  name = 'T5X checkpoint'

  def is_at(self, path: str) -> bool:
    return is_checkpoint(path)

  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    return arrays(path)

  def facts(self, path: str) -> dict[str, Any]:
    return {**super().facts(path), 'step': read_step(path)}

  def describe(self, path: str, step: int | None = None) -> Description | None:
    if not _is_native(path):
      return None
    with _understood(path):
      return description_in(_optimizer(path), path)

  def inspect(self, path: str) -> Found:
    said = self.describe(path)
    if said is None:
      return super().inspect(path)
    read = self.trained(path)
    assert read is not None
    return Found.of_trained(self.name, *read)

  def trained(
    self, path: str, step: int | None = None, assumed: Description | None = None
  ) -> tuple[Tree, Description] | None:
    # Without our gin files, T5X writes down neither the method nor the base.
    if assumed is not None:
      assumed = dataclasses.replace(assumed, step=read_step(path))
    said = self.describe(path) or assumed
    if said is None:
      return None
    leaves = {name: array.read() for name, array in self.arrays(path).items()}
    if said.hashes is not None:
      found = integrity.checksums(leaves)
      integrity.check_same(path, said.hashes[TRAINABLE], found)
    apart = read_all({name: held(leaf) for name, leaf in leaves.items()})
    return parameters.unflatten(apart), said


FORMAT = _T5X()


def description_in(
  optimizer: Mapping[str, Any], where: str
) -> Description | None:
  """What a run of this package under T5X says of itself in a checkpoint.

  Args:
    optimizer: what the checkpoint's file holds.
    where: the checkpoint, for messages.

  Returns:
    The description; None if there is none.

  Raises:
    Damaged: if it is not what was written.
  """
  contents = optimizer.get(DESCRIPTION)
  if contents is None:
    return None
  said = json_files.parse(np.asarray(contents).tobytes().decode(), where)
  return Description.from_json(integrity.unseal(said, where))


def _is_native(path: str) -> bool:
  return buckets.exists(posixpath.join(path, FILE))


def _optimizer(path: str) -> Mapping[str, Any]:
  """Reads the parameters and the state that the file holds."""
  contents = buckets.read(posixpath.join(path, FILE))
  assert contents is not None
  state: Any = flax.serialization.msgpack_restore(contents)
  return state['optimizer']


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
  """Makes a UserError of any failure to understand the file."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:  # msgpack raises many kinds.
    raise UserError(
      f"{path}/{FILE} is not T5X's: {type(error).__name__}: {error}. It may be "
      'cut off; fetch it again.'
    ) from error


def _is_place(_: Any, node: Any) -> bool:
  """Whether a node of the tree says where an array lies."""
  return isinstance(node, Mapping) and 'driver' in node


def _open(folder: str, place: Mapping[str, Any]) -> Any:
  """Begins to open an array that lies beside the file.

  The place names the folder or bucket that it was first written to, from which
  it may have been copied since: only its last part counts.
  """
  said = _innermost(place)
  # Older checkpoints have the path outside the kvstore.
  stored_as = said.get('kvstore', {}).get('path') or said.get('path', '')
  lies = posixpath.join(folder, posixpath.basename(stored_as.rstrip('/')))
  return tensorstore.open(
    {
      'driver': 'zarr',
      'kvstore': buckets.spec(lies),
      # Otherwise files that were not copied would be read as zeros.
      'fill_missing_data_reads': False,
    },
    open=True,
    read=True,
  )


def _innermost(place: Mapping[str, Any]) -> Mapping[str, Any]:
  """The place of what is stored, below the conversions on the way there."""
  return _innermost(place['base']) if 'base' in place else place


def _within(path: str, name: str, leaf: Any) -> Stored:
  """An array that lies within the file."""
  array = np.asarray(leaf)
  if array.dtype.kind in 'OSU':
    raise UserError(f'{name} of {path} is not an array: {str(leaf)[:40]!r}.')
  return held(array)


def _beside(
  path: str, name: str, opened: Any, place: Mapping[str, Any]
) -> Stored:
  """An array that lies beside the file, of the shape that the file says."""
  array = _wait(path, name, opened)
  said = _innermost(place).get('metadata', {}).get('shape')
  if said is not None and tuple(said) != array.shape:
    raise UserError(
      f'{name} of {path} is {array.shape}, but {tuple(said)} by its {FILE}: '
      'its files are of two checkpoints. Fetch it again.'
    )
  return Stored(
    tuple(array.shape),
    array.dtype.numpy_dtype,
    lambda: _wait(path, name, array.read()),
  )


def _wait(path: str, name: str, pending: Any) -> Any:
  """The result of a future of tensorstore's; its failure names the array."""
  try:
    return pending.result()
  except ValueError as error:
    raise UserError(
      f'{name} of {path} cannot be read: {buckets.reason(error)}'
    ) from error


def _write_zarr(
  folder: epath.Path, name: str, leaf: np.ndarray
) -> dict[str, Any]:
  """Writes an array beside the file; returns what the file says of it."""
  lies = f'{_TARGET}.{name.replace("/", ".")}'
  metadata = {
    'shape': list(leaf.shape),
    'chunks': list(leaf.shape),
    'compressor': {'id': 'gzip'},
  }
  array: Any = tensorstore.open(
    {
      'driver': 'zarr',
      'kvstore': buckets.spec(str(folder / lies)),
      'metadata': metadata,
    },
    create=True,
    dtype=leaf.dtype,
  ).result()
  array.write(leaf).result()
  kvstore = {'driver': 'file', 'path': lies}
  return {'driver': 'zarr', 'kvstore': kvstore, 'metadata': metadata}
