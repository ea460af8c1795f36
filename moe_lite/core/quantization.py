"""Weights of one byte: int8 values with a scale for each output channel.

A frozen base has no gradients, so it may be held as coarsely as its outputs
allow. A weight is dequantised where it is used. Its int8 values, which bfloat16
holds exactly, enter the matmul, and the output of the matmul is scaled. No copy
of the weight in another type exists.

A quantised parameter stands in the parameter tree at its usual path. It has the
shape of the parameter, and consists of two arrays.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import Array, DType

BASE_DTYPES = ('bfloat16', 'float32', 'int8')

# Maps the names of parameters that are quantised to the axis that their matmuls
# contract. The rest of a base (layer norms, relative positions) is small and
# stays bfloat16.
CONTRACTED = {'kernel': 0, 'embedding': -1}
_LARGEST = 127
# How many numbers are rounded at once on the host.
_BLOCK = 2**17


class Int8(struct.PyTreeNode):
  """A quantised weight. It stands for `values * scale`.

  Attributes:
    values: int8, in the shape of the weight.
    scale: bfloat16. It has as many axes as the weight. An axis along which the
      values share a scale has size 1.
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
    """The transposed weight."""
    return Int8(self.values.T, self.scale.T)


def check_dtype(dtype: str) -> None:
  """Raises UserError unless a base can be held in `dtype`."""
  if dtype not in BASE_DTYPES:
    raise UserError(
      f'BASE_DTYPE = {dtype!r} must be one of {BASE_DTYPES}.'
      f'{nearest(str(dtype), BASE_DTYPES)}'
    )


def hold(path: str, leaf: Any, dtype: str) -> Any:
  """Returns a parameter of the base in the type in which a run holds it.

  Args:
    path: the path of the parameter.
    leaf: the parameter of one layer or of a stack, on the host or traced.
    dtype: the type of the base, one of `BASE_DTYPES`.

  Returns:
    An `Int8` if the base is int8 and the parameter is one of `CONTRACTED`, and
    an array otherwise.
  """
  if dtype != 'int8':
    return leaf.astype(dtype)
  axis = CONTRACTED.get(path.rpartition('/')[2])
  return leaf.astype(jnp.bfloat16) if axis is None else quantize(leaf, axis)


def quantize(weight: Any, axis: int) -> Int8:
  """Rounds a weight to int8, symmetrically around 0.

  Args:
    weight: the weight.
    axis: the axis along which the values share a scale.
  """
  if isinstance(weight, np.ndarray) and weight.ndim == 2:
    return _quantize_in_blocks(weight, axis)
  return _quantize(weight, axis)


def matmul(
  x: Array, kernel: Any, dtype: DType, accumulate: DType | None = None
) -> Array:
  """Returns `x @ kernel` for a kernel in any type.

  Args:
    x: the activations, [..., in].
    kernel: the kernel [in, out], an array or an `Int8`.
    dtype: the type of both operands.
    accumulate: the type of the result. None means `dtype`.

  Returns:
    An array [..., out].
  """
  out = accumulate or dtype
  values = kernel.values if isinstance(kernel, Int8) else kernel
  # With the tokens on one axis, the gradient of a kernel that trains contracts
  # over one axis. XLA would first transpose the activations to contract over
  # several, which takes a sixth of the gradients of full fine-tuning on a CPU.
  y = jnp.matmul(
    x.reshape(-1, x.shape[-1]).astype(dtype),
    values.astype(dtype),
    preferred_element_type=out,
  )
  y = y.reshape(*x.shape[:-1], y.shape[-1])
  return y * kernel.scale[0].astype(out) if isinstance(kernel, Int8) else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def int8_matmul(x: Array, kernel: Int8, dtype: DType) -> Array:
  """Returns `x @ kernel`, multiplied as int8 numbers.

  The activations of each token are rounded to int8 with a scale of their own.
  Chips multiply int8 numbers up to twice as fast as bfloat16. The gradient by
  `x` is computed in `dtype`, as if nothing had been rounded; there is none by
  the kernel.

  Args:
    x: the activations, [..., in].
    kernel: the kernel, [in, out].
    dtype: the type of the result.

  Returns:
    An array [..., out].
  """
  largest = jnp.abs(x.astype(jnp.float32)).max(axis=-1, keepdims=True)
  scale = jnp.where(largest == 0, 1.0, largest / _LARGEST)
  values = jnp.rint(x.astype(jnp.float32) / scale).astype(jnp.int8)
  y = jnp.matmul(values, kernel.values, preferred_element_type=jnp.int32)
  y = y.astype(jnp.float32) * scale * kernel.scale[0].astype(jnp.float32)
  return y.astype(dtype)


def _int8_matmul_fwd(
  x: Array, kernel: Int8, dtype: DType
) -> tuple[Array, tuple[Int8, Array]]:
  # Only the type of `x` is needed, and an empty array has it, too.
  return int8_matmul(x, kernel, dtype), (kernel, jnp.zeros(0, x.dtype))


def _int8_matmul_bwd(
  dtype: DType, kept: tuple[Int8, Array], gradient: Array
) -> tuple[Array, None]:
  kernel, like_x = kept
  scaled = gradient.astype(dtype) * kernel.scale[0].astype(dtype)
  of_x = jnp.matmul(scaled, kernel.values.T.astype(dtype))
  return of_x.astype(like_x.dtype), None


int8_matmul.defvjp(_int8_matmul_fwd, _int8_matmul_bwd)


def lookup(table: Any, ids: Array, dtype: DType) -> Array:
  """Returns rows of a table.

  Args:
    table: the table [V, D], an array or an `Int8`.
    ids: the numbers of the rows, int32 [...].
    dtype: the type of the result.

  Returns:
    An array [..., D].
  """
  if isinstance(table, Int8):
    rows = table.values[ids].astype(dtype)
    return rows * table.scale[ids].astype(dtype)
  return table[ids].astype(dtype)


def abstract(
  params: Mapping[str, Any], dtypes: Mapping[str, str]
) -> dict[str, Any]:
  """Returns the shapes of parameters as `hold` holds them.

  Args:
    params: the parameters, or their shapes, by path.
    dtypes: the type of each, one of `BASE_DTYPES`, by path.
  """
  return jax.eval_shape(
    lambda leaves: {
      path: hold(path, leaf, dtypes[path]) for path, leaf in leaves.items()
    },
    dict(params),
  )


def _quantize_in_blocks(weight: np.ndarray, axis: int) -> Int8:
  """Quantises a matrix on the host without a float32 copy of all of it."""
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
  # The scale is rounded to bfloat16 first, and the values are rounded for the
  # rounded scale. Scaling a bfloat16 activation then adds no error but that of
  # its own rounding.
  scale = (largest / _LARGEST).astype(jnp.bfloat16)
  divisor = xp.where(scale == 0, 1, scale).astype(np.float32)
  values = xp.clip(xp.rint(weight / divisor), -_LARGEST, _LARGEST)
  return Int8(values.astype(np.int8), scale)
