"""Arrays that lie somewhere and are read one at a time.

A base of 11B parameters is 45 GB in float32. Whatever reads one therefore
hands on where each array lies, and its shape; whoever needs the numbers reads
an array, uses it and drops it.
"""

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent import futures

import numpy as np

from moe_lite.core import parameters

# Read ahead of what is used, so that a bucket's latency is hidden.
_BYTES_AHEAD = 2**24
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array that is read on demand.

  Attributes:
    shape: of the array.
    dtype: that it is stored in.
    read: returns it; raises UserError if it cannot be read.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[], np.ndarray]

  @property
  def nbytes(self) -> int:
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

  @property
  def T(self) -> 'Stored':
    """Transposed."""
    return Stored(
      self.shape[::-1],
      self.dtype,
      lambda: np.ascontiguousarray(self.read().T),
    )


def held(array: np.ndarray) -> Stored:
  """An array that is in memory already."""
  return Stored(array.shape, array.dtype, lambda: array)


def read(
  arrays: Mapping[str, Stored], names: Iterable[str]
) -> Generator[tuple[str, np.ndarray]]:
  """Reads some arrays in order; small ones ahead of their use."""
  pending: collections.deque[tuple[str, futures.Future[np.ndarray]]]
  pending = collections.deque()
  bytes_ahead = 0
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    try:
      for name in names:
        size = arrays[name].nbytes
        while pending and bytes_ahead + size > _BYTES_AHEAD:
          first, reading = pending.popleft()
          bytes_ahead -= arrays[first].nbytes
          yield first, reading.result()
          del reading
        pending.append((name, pool.submit(arrays[name].read)))
        bytes_ahead += size
      while pending:
        first, reading = pending.popleft()
        yield first, reading.result()
        del reading
    finally:
      for _, reading in pending:
        reading.cancel()


def read_layers(
  arrays: Mapping[str, Stored], names: Iterable[str]
) -> Generator[tuple[str, np.ndarray]]:
  """Reads some arrays in order: paths and leaves of single layers."""
  for path, array in read(arrays, names):
    axis = parameters.layer_axis(path, array.ndim)
    if axis is None:
      yield path, array
    else:
      for i in range(array.shape[axis]):
        yield parameters.layer_path(path, i), array.take(i, axis)
    del array


def unrolled(arrays: Mapping[str, Stored]) -> dict[str, Stored]:
  """Path of every single layer's leaf to what it is; not to be read."""
  result = {}
  for path, array in arrays.items():
    axis = parameters.layer_axis(path, len(array.shape))
    if axis is None:
      result[path] = array
      continue
    shape = array.shape[:axis] + array.shape[axis + 1 :]
    for i in range(array.shape[axis]):
      result[parameters.layer_path(path, i)] = Stored(
        shape, array.dtype, _not_alone
      )
  return result


def read_all(arrays: Mapping[str, Stored]) -> dict[str, np.ndarray]:
  """Path of every single layer's leaf to its array."""
  return dict(read_layers(arrays, arrays))


def fingerprint(arrays: Mapping[str, Stored]) -> str:
  """See `parameters.fingerprint`; one array at a time is in memory."""
  return parameters.combine(
    {
      name: parameters.digest(name, leaf)
      for name, leaf in read_layers(arrays, arrays)
    }
  )


def _not_alone() -> np.ndarray:
  raise AssertionError('A layer of a stack is read with its stack.')
