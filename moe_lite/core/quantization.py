"""Weights of one byte: int8 values with a scale for each output channel.

A frozen base has no gradients, so that it may be held as coarsely as its
outputs allow. A weight is dequantised where it is used: the int8 values, which
bfloat16 holds exactly, enter the matmul, and its output is scaled. No copy of
the weight in another type exists.

A quantised parameter is one leaf of the parameter tree under its own path. It
has the shape of what it stands for, and two arrays within.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import Array, DType

BASE_DTYPES = ('bfloat16', 'float32', 'int8')

# Names of quantised parameters, and the axis that their matmuls contract. The
# rest of a base (layer norms, relative positions) is small and stays bfloat16.
CONTRACTED = {'kernel': 0, 'embedding': -1}
_LARGEST = 127
# Numbers that are rounded at once on the host.
_BLOCK = 2**17


class Int8(struct.PyTreeNode):
  """`values * scale`.

  Attributes:
    values: int8.
    scale: bfloat16, of as many axes; size 1 where values share one.
  """

  values: Any
  scale: Any

  @property
  def shape(self) -> tuple[int, ...]:
    return self.values.shape

  @property
  def ndim(self) -> int:
    return len(self.values.shape)

  @property
  def T(self) -> 'Int8':
    """Transposed, as an array's."""
    return Int8(self.values.T, self.scale.T)


def check_dtype(dtype: str) -> None:
  """Raises UserError unless a base can be held in `dtype`."""
  if dtype not in BASE_DTYPES:
    raise UserError(
      f'BASE_DTYPE = {dtype!r} must be one of {BASE_DTYPES}.'
      f'{nearest(str(dtype), BASE_DTYPES)}'
    )


def hold(path: str, leaf: Any, dtype: str) -> Any:
  """A parameter of a base in the type that a run holds it in.

  Args:
    path: of the parameter.
    leaf: an array of one layer or a stack, on the host or traced.
    dtype: one of `BASE_DTYPES`.

  Returns:
    An array, or an `Int8`.
  """
  if dtype != 'int8':
    return leaf.astype(dtype)
  axis = CONTRACTED.get(path.rpartition('/')[2])
  return leaf.astype(jnp.bfloat16) if axis is None else quantize(leaf, axis)


def quantize(weight: Any, axis: int) -> Int8:
  """Rounds to int8, symmetrically; one scale for each slice along `axis`."""
  if isinstance(weight, np.ndarray) and weight.ndim == 2:
    return _quantize_in_blocks(weight, axis)
  return _quantize(weight, axis)


def _quantize_in_blocks(weight: np.ndarray, axis: int) -> Int8:
  """The same, without float32 copies of a whole matrix on the host."""
  along = 1 - axis % 2
  count = max(1, round(weight.size / _BLOCK))
  blocks = [
    _quantize(block, axis)
    for block in np.array_split(weight, count, axis=along)
  ]
  join = lambda *parts: np.concatenate(parts, along)
  return jax.tree.map(join, *blocks)


def _quantize(weight: Any, axis: int) -> Int8:
  xp = np if isinstance(weight, np.ndarray) else jnp
  weight = weight.astype(np.float32)
  largest = xp.abs(weight).max(axis=axis, keepdims=True)
  # Scales are bfloat16, so that scaling a bfloat16 activation adds nothing but
  # its own rounding; values are then rounded for that very scale.
  scale = (largest / _LARGEST).astype(jnp.bfloat16)
  divisor = xp.where(scale == 0, 1, scale).astype(np.float32)
  values = xp.clip(xp.rint(weight / divisor), -_LARGEST, _LARGEST)
  return Int8(values.astype(np.int8), scale)


def matmul(
  x: Array, kernel: Any, dtype: DType, accumulate: DType | None = None
) -> Array:
  """`x @ kernel` in `dtype`, for a kernel of any type.

  Args:
    x: [..., in].
    kernel: [in, out], an array or an `Int8`.
    dtype: of the operands.
    accumulate: of the result, if not `dtype`.
  """
  out = accumulate or dtype
  values = kernel.values if isinstance(kernel, Int8) else kernel
  y = jnp.matmul(
    x.astype(dtype), values.astype(dtype), preferred_element_type=out
  )
  return y * kernel.scale[0].astype(out) if isinstance(kernel, Int8) else y


def lookup(table: Any, ids: Array, dtype: DType) -> Array:
  """Rows of a table [V, D], an array or an `Int8`, in `dtype`."""
  if isinstance(table, Int8):
    rows = table.values[ids].astype(dtype)
    return rows * table.scale[ids].astype(dtype)
  return table[ids].astype(dtype)


def abstract(path: str, leaf: Any, dtype: str) -> Any:
  """The shapes that `hold` returns for a leaf of this shape."""
  return jax.eval_shape(lambda x: hold(path, x, dtype), leaf)
