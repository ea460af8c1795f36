"""Safetensors files, wherever they lie."""

import contextlib
import tempfile

import numpy as np
import safetensors.numpy
from etils import epath

from moe_lite.errors import UserError


def read(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Name to array.

  Raises:
    UserError: if it is no such file, or cut off.
  """
  path = epath.Path(path)
  with contextlib.ExitStack() as stack:
    local = path
    if '://' in str(path):
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      local = path.copy(epath.Path(folder) / path.name)
    try:
      return safetensors.numpy.load_file(local)
    except safetensors.SafetensorError as error:
      raise UserError(f'{path} is not a safetensors file: {error}.') from error
    except (KeyError, TypeError) as error:  # A type that NumPy lacks.
      raise UserError(f'{path} has arrays of the type {error}.') from error
