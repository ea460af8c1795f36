"""Reads files from a folder, or from a bucket of Google Cloud Storage.

Buckets are read with tensorstore's own driver, which needs neither TensorFlow
nor gcsfs, and finds the credentials of a machine by itself.
"""

from collections.abc import Callable
from typing import Any

import tensorstore
from etils import epath

from moe_lite.core.errors import UserError

_BUCKET = 'gs://'


def is_bucket(path: str) -> bool:
  """Whether a path lies in a bucket."""
  return str(path).startswith(_BUCKET)


def spec(path: str) -> dict[str, str]:
  """Describes a path to tensorstore: the `kvstore` of an array or a folder."""
  if is_bucket(path):
    bucket, _, rest = str(path).removeprefix(_BUCKET).partition('/')
    return {'driver': 'gcs', 'bucket': bucket, 'path': rest}
  return {'driver': 'file', 'path': str(epath.Path(path).absolute())}


def read(path: str) -> bytes | None:
  """Reads a file; None if it does not exist.

  Raises:
    UserError: if a bucket cannot be reached, or may not be read.
  """
  if not is_bucket(path):
    local = epath.Path(path)
    return local.read_bytes() if local.is_file() else None
  folder, _, name = str(path).rpartition('/')
  found = _asked(path, folder, lambda store: store.read(name))
  return found.value if found.state == 'value' else None


def exists(path: str) -> bool:
  """Whether a file exists. It is read only where it may not be listed.

  Raises:
    UserError: if a bucket cannot be reached, or may not be read.
  """
  if not is_bucket(path):
    return epath.Path(path).is_file()
  folder, _, name = str(path).rpartition('/')
  # The range ends at the first key behind `name`, so it holds `name` alone.
  only = tensorstore.KvStore.KeyRange(name, f'{name}\0')
  listed = _asked(path, folder, lambda store: store.list(only))
  # Where listing is forbidden, the driver lists nothing, and raises nothing.
  return bool(listed) or read(path) is not None


def _asked(path: str, folder: str, question: Callable[[Any], Any]) -> Any:
  try:
    store = tensorstore.KvStore.open(spec(folder + '/')).result()
    return question(store).result()
  except ValueError as error:
    raise UserError(f'{path} cannot be read: {reason(error)}') from error


def reason(error: Exception) -> str:
  """The first line of tensorstore's message, without the long request in it."""
  return str(error).partition(' [tensorstore_spec')[0].splitlines()[0]
