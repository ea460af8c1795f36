"""The position in a stream as bytes, with a hash that tells if it is whole."""

import hashlib
import io
import os
import zipfile
import zlib

_HASH_SIZE = hashlib.sha256().digest_size
# What `zipfile` raises for archives that are damaged.
_NO_ARCHIVE = (
  zipfile.BadZipFile,
  zlib.error,
  EOFError,
  KeyError,
  NotImplementedError,
  OSError,
  RuntimeError,
)


def pack(folder: str, place: str) -> bytes:
  """Returns the files of a folder as a ZIP archive, after a hash of it.

  Args:
    folder: the folder.
    place: what the files belong to. The hash is also of this.
  """
  packed = io.BytesIO()
  # Shuffle buffers hold padded ids. Even the fastest level makes them several
  # times smaller.
  with zipfile.ZipFile(
    packed, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
  ) as archive:
    for name in sorted(os.listdir(folder)):
      archive.write(os.path.join(folder, name), name)
  archived = packed.getvalue()
  return _hash(archived, place) + archived


def unpack(packed: bytes, folder: str, place: str) -> None:
  """Undoes `pack`; raises ValueError if something else was packed."""
  digest, archived = packed[:_HASH_SIZE], packed[_HASH_SIZE:]
  if packed.startswith(b'PK'):
    # An earlier version wrote no hash. The archive has sums of its own.
    archived = packed
  elif digest != _hash(archived, place):
    raise ValueError('it is damaged, or of another place in other data')
  try:
    with zipfile.ZipFile(io.BytesIO(archived)) as archive:
      archive.extractall(folder)
  except _NO_ARCHIVE as error:
    raise ValueError(f'it is damaged ({error})') from error


def _hash(archived: bytes, place: str) -> bytes:
  return hashlib.sha256(place.encode() + b'\n' + archived).digest()
