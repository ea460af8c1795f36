"""Safetensors files: in a folder, or at any address that `epath` reads."""

import functools
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from moe_lite.checkpoints import lazy_arrays
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.core.errors import UserError

# The types that NumPy has, by the names that the format gives them.
_DTYPES = {
  'BF16': 'bfloat16',
  'BOOL': 'bool',
  'F16': 'float16',
  'F32': 'float32',
  'F64': 'float64',
  'I8': 'int8',
  'I16': 'int16',
  'I32': 'int32',
  'I64': 'int64',
  'U8': 'uint8',
}


def arrays(path: epath.PathLike) -> dict[str, Stored]:
  """Opens a file: name to array, none of which has been read yet.

  Raises:
    UserError: if it is not such a file, if it is cut off, or if NumPy lacks the
      type of an array.
  """
  return described(path)[0]


def described(
  path: epath.PathLike,
) -> tuple[dict[str, Stored], Mapping[str, str]]:
  """Opens a file; returns also the metadata that `write` was given."""
  path = epath.Path(path)
  local, folder = path, None
  if '://' in str(path):
    # The copy is removed as soon as no array refers to it any more.
    folder = tempfile.TemporaryDirectory()
    local = path.copy(epath.Path(folder.name) / path.name)
  try:
    file = safetensors.safe_open(local, framework='numpy')
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error}.') from error
  except safetensors.SafetensorError as error:
    raise UserError(
      f'{path} is not a safetensors file: {error}. It may be cut off.'
    ) from error

  found = {}
  names = file.keys()
  for name in names:
    lies = file.get_slice(name)
    kind = lies.get_dtype()
    if kind not in _DTYPES:
      raise UserError(f'{path} has arrays of the type {kind}.')
    found[name] = Stored(
      tuple(lies.get_shape()),
      np.dtype(_DTYPES[kind]),
      functools.partial(_read, file, name, folder),
    )
  return found, file.metadata() or {}


def read(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Reads all arrays of a file; see `arrays`."""
  return dict(lazy_arrays.read(found := arrays(path), found))


def write(
  path: epath.Path,
  leaves: Mapping[str, np.ndarray],
  metadata: dict[str, str] | None = None,
) -> None:
  """Writes contiguous arrays, without a copy of them if the path is local."""
  if '://' in str(path):
    path.write_bytes(safetensors.numpy.save(dict(leaves), metadata))
  else:
    # The library lets nobody else read what it writes. A file that is made here
    # has the permissions that the user and the folder give to files.
    path.unlink(missing_ok=True)
    with open(path, 'xb') as file:
      permissions = os.fstat(file.fileno()).st_mode & 0o777
    safetensors.numpy.save_file(dict(leaves), path, metadata)
    os.chmod(path, permissions)


def _read(file: Any, name: str, folder: Any) -> np.ndarray:
  """Reads an array.

  Args:
    file: an open file.
    name: the name of the array.
    folder: the temporary folder of the file. Whoever may still call this holds
      on to the folder, so that it exists until then.
  """
  del folder
  return file.get_tensor(name)
