"""Files in a folder or a bucket of Google Cloud Storage, by tensorstore.

Its own driver needs neither TensorFlow nor gcsfs, and finds a machine's
credentials by itself.
"""

from collections.abc import Callable
from typing import Any

import tensorstore
from etils import epath

from moe_lite.core.errors import UserError

_BUCKET = 'gs://'


def is_bucket(path: str) -> bool:
  """Whether a path is one of a bucket."""
  return str(path).startswith(_BUCKET)


def spec(path: str) -> dict[str, str]:
  """A path as tensorstore names it, for an array or for `read`."""
  if is_bucket(path):
    bucket, _, rest = str(path).removeprefix(_BUCKET).partition('/')
    return {'driver': 'gcs', 'bucket': bucket, 'path': rest}
  return {'driver': 'file', 'path': str(epath.Path(path).absolute())}


def read(path: str) -> bytes | None:
  """A file's contents; None where there is none.

  Raises:
    UserError: if there is no telling, as when a bucket cannot be reached.
  """
  if not is_bucket(path):
    local = epath.Path(path)
    return local.read_bytes() if local.is_file() else None
  folder, _, name = str(path).rpartition('/')
  found = _asked(path, folder, lambda store: store.read(name))
  return found.value if found.state == 'value' else None


def exists(path: str) -> bool:
  """Whether there is a file, which is not read where it may be listed.

  Raises:
    UserError: as of `read`.
  """
  if not is_bucket(path):
    return epath.Path(path).is_file()
  folder, _, name = str(path).rpartition('/')
  # Nothing lies between a key and itself with the least character behind it.
  only = tensorstore.KvStore.KeyRange(name, f'{name}\0')
  listed = _asked(path, folder, lambda store: store.list(only))
  # The driver lists nothing, without a word, where it may not list.
  return bool(listed) or read(path) is not None


def _asked(path: str, folder: str, question: Callable[[Any], Any]) -> Any:
  try:
    store = tensorstore.KvStore.open(spec(folder + '/')).result()
    return question(store).result()
  except ValueError as error:
    raise UserError(f'{path} cannot be read: {reason(error)}') from error


def reason(error: Exception) -> str:
  """What tensorstore says, without all that it was asked."""
  return str(error).partition(' [tensorstore_spec')[0].splitlines()[0]
