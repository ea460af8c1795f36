"""Arrays that lie in files and are read one at a time.

A base of 11B parameters takes 45 GB in float32, which a host may not have. What
opens a base therefore reads no numbers: it says where each array lies, and its
shape. What needs the numbers reads one array, uses it, and drops it.
"""

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent import futures

import numpy as np

from moe_lite.core import integrity, parameters

# Small arrays are read ahead of their use, up to so many bytes, which hides the
# latency of a bucket.
_BYTES_AHEAD = 2**24
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array that is read on demand.

  Attributes:
    shape: the shape of the array.
    dtype: the type in which it is stored.
    read: reads and returns it; raises UserError if that fails.
    digest: its `parameters.digest`, if that is known without reading.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[], np.ndarray]
  digest: bytes | None = None

  @property
  def nbytes(self) -> int:
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

  @property
  def T(self) -> 'Stored':
    """The same array, transposed when it is read."""
    return Stored(
      self.shape[::-1],
      self.dtype,
      lambda: np.ascontiguousarray(self.read().T),
    )


def checked(
  where: str,
  arrays: Mapping[str, Stored],
  digests: Mapping[str, str] | None = None,
) -> dict[str, Stored]:
  """Returns arrays that are checked whenever they are read.

  Args:
    where: what they lie in, for messages.
    arrays: path to array.
    digests: the `parameters.digest` of each array, in hexadecimal digits, as it
      was saved with them; None if none was.

  Raises:
    Damaged: if there are other arrays than digests. Reading an array raises it
      if the array has another digest, or is not finite.
  """
  if digests is not None and arrays.keys() != digests.keys():
    integrity.check_same(where, digests, dict.fromkeys(arrays, ''))

  def check(name: str, array: Stored) -> Stored:
    saved = None if digests is None else digests[name]

    def read() -> np.ndarray:
      leaf = array.read()
      if saved is not None:
        found = parameters.digest(name, leaf).hex()
        integrity.check_same(where, {name: saved}, {name: found})
      integrity.check_finite(where, name, leaf)
      return leaf

    digest = None if saved is None else bytes.fromhex(saved)
    return dataclasses.replace(array, read=read, digest=digest)

  return {name: check(name, array) for name, array in arrays.items()}


def digest(array: Stored | None, name: str, leaf: np.ndarray) -> bytes:
  """Returns the digest of a leaf that was read.

  Args:
    array: the array that it was read from; None for a layer of a stack.
    name: the path of the leaf.
    leaf: its numbers.
  """
  if array is not None and array.digest is not None:
    return array.digest
  return parameters.digest(name, leaf)


def held(array: np.ndarray) -> Stored:
  """Wraps an array that is in memory already."""
  return Stored(array.shape, array.dtype, lambda: array)


def read(
  arrays: Mapping[str, Stored],
  names: Iterable[str],
  bytes_ahead: int = _BYTES_AHEAD,
) -> Generator[tuple[str, np.ndarray]]:
  """Reads some arrays in order, and yields name and array.

  Small arrays are read ahead of their use; a large one is not, so that only one
  is in memory.

  Args:
    arrays: all arrays.
    names: the names of those to read, in order.
    bytes_ahead: how many bytes of arrays may be read before they are used.
  """
  pending: collections.deque[tuple[str, futures.Future[np.ndarray]]]
  pending = collections.deque()
  ahead = 0
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    try:
      for name in names:
        size = arrays[name].nbytes
        while pending and ahead + size > bytes_ahead:
          first, reading = pending.popleft()
          ahead -= arrays[first].nbytes
          yield first, reading.result()
          del reading
        pending.append((name, pool.submit(arrays[name].read)))
        ahead += size
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
  """Reads some arrays in order, and yields path and leaf of single layers."""
  for path, array in read(arrays, names):
    axis = parameters.layer_axis(path, array.ndim)
    if axis is None:
      yield path, array
    else:
      for i in range(array.shape[axis]):
        yield parameters.layer_path(path, i), array.take(i, axis)
    del array


def unrolled(arrays: Mapping[str, Stored]) -> dict[str, Stored]:
  """The path, shape and type of the leaves of single layers.

  A layer of a stack that is found here cannot be read: its stack can.
  """
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
  """Reads all arrays: path to leaf of every single layer."""
  return dict(read_layers(arrays, arrays))


def fingerprint(arrays: Mapping[str, Stored]) -> str:
  """The fingerprint of a base, with one array at a time in memory.

  See `parameters.fingerprint`.
  """
  return parameters.combine(
    {
      name: digest(arrays.get(name), name, leaf)
      for name, leaf in read_layers(arrays, arrays)
    }
  )


def _not_alone() -> np.ndarray:
  raise AssertionError('A layer of a stack is read with its stack.')
