"""Reads P3's parquet files, the layout of its data set repository today.

A column holds lists of int32, lists of strings, strings, booleans or float32;
see `tasks.p3.source`. One row group is read at a time.
"""

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from moe_lite.core.errors import UserError

# The number of rows that are in memory at once.
_ROWS = 1024


def check(path: str | os.PathLike[str], columns: Iterable[str]) -> int:
  """Checks a file and returns its number of rows.

  Raises:
    UserError: if the file is damaged, or lacks one of the columns.
  """
  with _File(path) as file:
    parquet = _open(path, file)
    has = set(parquet.schema_arrow.names)
    if missing := sorted(set(columns) - has):
      raise UserError(
        f'{path} has no column {missing[0]!r}, only {", ".join(sorted(has))}. '
        'So it is not a file of P3.'
      )
    return parquet.metadata.num_rows


def columns(path: str | os.PathLike[str]) -> list[str]:
  """The names of a file's columns."""
  with _File(path) as file:
    return list(_open(path, file).schema_arrow.names)


def examples(
  path: str | os.PathLike[str], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
  """Yields the rows as arrays by column. Strings are bytes.

  Raises:
    UserError: if the file is damaged.
  """
  with _File(path) as file:
    for batch in _batches(path, file, columns):
      read = {name: _values(batch.column(name)) for name in columns}
      for i in range(batch.num_rows):
        yield {name: values[i] for name, values in read.items()}


class _File(io.RawIOBase):
  """A file of any file system that TensorFlow knows, as a file of Python."""

  def __init__(self, path: str | os.PathLike[str]):
    self._file = tf.io.gfile.GFile(os.fspath(path), 'rb')

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._file.tell()

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    self._file.seek(offset, whence)
    return self.tell()

  def readinto(self, buffer: Any) -> int:
    data = self._file.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _open(path: str | os.PathLike[str], file):
  # Imported here, so that only readers of parquet wait for it.
  from pyarrow import parquet

  with _told(path):
    return parquet.ParquetFile(file)


def _batches(path: str | os.PathLike[str], file, columns: Sequence[str]):
  parquet = _open(path, file)
  with _told(path):
    yield from parquet.iter_batches(_ROWS, columns=list(columns))


@contextlib.contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
  import pyarrow

  try:
    yield
  except (OSError, pyarrow.ArrowException) as error:
    raise UserError(
      f'{path} is not a whole parquet file ({str(error).strip()}). Move it '
      'away, and fetch or copy it again.'
    ) from error


def _values(column) -> Sequence[Any]:
  """The values of a column, row by row."""
  import pyarrow

  kind = column.type
  if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
    return column.cast(pyarrow.large_binary()).to_pylist()
  if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
    flat = _values(column.flatten())
    ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
    parts = zip([0, *ends[:-1]], ends, strict=True)
    if isinstance(flat, np.ndarray):
      return [flat[a:b] for a, b in parts]
    return [np.array(flat[a:b], object) for a, b in parts]
  return column.to_numpy(zero_copy_only=False)
