"""Builds parameters on devices from arrays on the host, a layer at a time."""

import contextlib
import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.core import parameters, quantization
from moe_lite.core.types import Tree

# The number of a parameter of glibc's `mallopt`, and the largest value that
# glibc gives it by itself.
_MMAP_THRESHOLD = -3
_LARGEST_THRESHOLD = 2**25


class Placement:
  """Parameters of a base, each uploaded as soon as all its layers are there."""

  def __init__(self, wanted: Tree):
    """Begins with nothing.

    Args:
      wanted: the shapes, types and places of the parameters, in loop or scan
        form.
    """
    self._wanted = parameters.flatten(wanted)
    self._filling: dict[str, _Parameter] = {}
    self._placed: dict[str, Any] = {}

  def fill(self, path: str, leaf: np.ndarray) -> None:
    """Takes the leaf of one layer, in the type in which it is stored."""
    layer = 0
    if path not in self._wanted:
      path, layer = parameters.stacked_path(path)
    if path not in self._filling:
      self._filling[path] = _Parameter(path, self._wanted[path])
    if self._filling[path].fill(layer, leaf):
      self._placed[path] = self._filling.pop(path).upload()

  def tree(self) -> Tree:
    """The parameters that were filled, on their devices."""
    return parameters.unflatten(self._placed)


class _Parameter:
  """One parameter, filled layer by layer.

  The host keeps only the parts that this process's devices hold, in the type in
  which they hold them. Of a stack that is split over eight hosts, that is an
  eighth.
  """

  def __init__(self, path: str, wanted: Any):
    self._path = path
    is_quantized = isinstance(wanted, quantization.Int8)
    self._dtype = 'int8' if is_quantized else np.dtype(wanted.dtype).name
    self._axis = parameters.layer_axis(path, wanted.ndim)
    self._missing = 1 if self._axis is None else wanted.shape[self._axis]
    self._parts = jax.tree.map(_Part, wanted)

  def fill(self, layer: int, leaf: np.ndarray) -> bool:
    """Takes one layer; returns whether it was the last one."""
    # Where it is copied below, NumPy converts it to a type of floats by itself.
    # For int8 it needs a scale.
    held = (
      quantization.hold(self._path, leaf, self._dtype)
      if self._dtype == 'int8'
      else leaf
    )
    jax.tree.map(
      lambda part, values: part.fill(values, self._axis, layer),
      self._parts,
      held,
    )
    self._missing -= 1
    return not self._missing

  def upload(self) -> Any:
    """Puts the parameter on its devices."""
    return jax.block_until_ready(
      jax.tree.map(lambda part: part.upload(), self._parts)
    )


class _Part:
  """The shards of one array that this process's devices hold, on the host."""

  def __init__(self, wanted: jax.ShapeDtypeStruct):
    self._wanted = wanted
    indices: Iterable[Any] = [tuple(slice(0, n) for n in wanted.shape)]
    if wanted.sharding is not None:
      where = wanted.sharding.addressable_devices_indices_map(wanted.shape)
      indices = where.values()
    # Devices that hold the same part of the array share one shard.
    self._shards = {
      key: np.empty([stop - start for start, stop in key], wanted.dtype)
      for key in {_bounds(index, wanted.shape) for index in indices}
    }

  def fill(self, leaf: np.ndarray, axis: int | None, layer: int) -> None:
    for key, shard in self._shards.items():
      index = [slice(*bounds) for bounds in key]
      if axis is None:
        shard[...] = leaf[*index]
        continue
      start, stop = key[axis]
      if start <= layer < stop:
        place = (*[slice(None)] * axis, layer - start)
        shard[place] = leaf[*index[:axis], *index[axis + 1 :]]

  def upload(self) -> jax.Array:
    shape = self._wanted.shape
    if self._wanted.sharding is None:
      (shard,) = self._shards.values()
      return jnp.asarray(shard)
    return jax.make_array_from_callback(
      shape,
      self._wanted.format,
      lambda index: self._shards[_bounds(index, shape)],
    )


def _bounds(index: Any, shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
  """Start and stop along every axis, also where a slice leaves them out."""
  return tuple(
    part.indices(n)[:2] for part, n in zip(index, shape, strict=True)
  )


@contextlib.contextmanager
def freeing_at_once() -> Iterator[None]:
  """Makes the C library return freed arrays to the system at once.

  Otherwise it keeps every freed array that is smaller than the largest one
  freed so far, up to 32 MB, and does so for each thread. That adds up to
  hundreds of MB when several threads read a model.
  """
  try:
    allocator = ctypes.CDLL(None)
    allocator.mallopt(_MMAP_THRESHOLD, 2**20)
  except (OSError, AttributeError):  # Other C libraries have no mallopt.
    yield
    return
  try:
    yield
  finally:
    allocator.mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
    allocator.malloc_trim(0)
