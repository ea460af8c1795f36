"""From queries, keys and values to what each query reads.

`Visible` says what may see what. It holds a number for each position and each
distance, and no array over pairs of positions. Two forms compute the same:

  plain   makes the logits of all queries at once, [B, H, T, S].
  blocks  makes those of a block of queries, one block after the other, and
          makes them again in the backward pass. So they stay in a chip's own
          memory, and never use the bandwidth of its main memory.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from moe_lite.core import partitioning
from moe_lite.core.types import Array

FORMS = ('auto', 'plain', 'blocks')
# The logits of positions that may not be attended to.
MASKED = -1e10
# Logits of at most so many bytes a device are small: they stay in the memory of
# a chip itself in any form.
_SMALL = 2**24
# A CPU has no such memory, and blocks take it a tenth longer. They only keep
# large logits from filling its memory.
_SMALL_ON_CPU = 2**30
# The logits of a block should have at most so many bytes a device, because
# several arrays of their size are alive at once.
_OF_BLOCK = 2**24
# The number of queries in a block. The smaller ones are for many rows and
# heads, and for long keys.
_SIZES = (256, 128, 64)


class Visible(struct.PyTreeNode):
  """What T queries may see of S keys, and how far away they see it.

  Attributes:
    query_segments: int32 [B, T], the example that each query belongs to; 0 at
      padding, which sees nothing.
    key_segments: int32 [B, S], the same of the keys.
    distances: [H, T + S - 1], what is added to logits. Entry s - t + T - 1 is
      for query t and key s. None adds nothing.
    first: the position of the first query among the keys, a scalar.
    causal: whether a query sees only keys up to its own position.
  """

  query_segments: Array
  key_segments: Array
  distances: Array | None = None
  first: Array | int = 0
  causal: bool = struct.field(pytree_node=False, default=False)

  def mask(self) -> Array:
    """Returns bool [B, T, S], true where a query sees a key."""
    mask = same_segment(self.query_segments, self.key_segments)
    if self.causal:
      num_queries, num_keys = mask.shape[1:]
      query = self.first + jnp.arange(num_queries)[:, None]
      mask &= jnp.arange(num_keys) <= query
    return mask

  def bias(self) -> Array | None:
    """Returns `distances` for each pair, [H, T, S]."""
    if self.distances is None:
      return None
    num_queries = self.query_segments.shape[1]
    if num_queries == 1:
      return self.distances[:, None]
    # Each row is the one before it, shifted by one. A matrix of repeated rows,
    # cut into rows that are shorter by one, has such rows.
    heads, size = self.distances.shape
    rows = jnp.broadcast_to(
      jnp.pad(self.distances, ((0, 0), (0, 1)))[:, None],
      (heads, num_queries, size + 1),
    )
    rows = rows.reshape(heads, -1)[:, : num_queries * size]
    rows = rows.reshape(heads, num_queries, size)
    return rows[:, :, num_queries - 1 :]

  def shared(self, rows: int) -> 'Visible':
    """Makes queries of one row of neighbouring rows with the same keys."""
    every = self.query_segments.shape[0] // rows
    return Visible(
      self.query_segments.reshape(rows, every), self.key_segments[::every]
    )

  def padded(self, count: int) -> 'Visible':
    """Adds `count` queries at the end, which see nothing."""
    distances = self.distances
    if distances is not None:
      distances = jnp.pad(distances, ((0, 0), (count, 0)))
    segments = jnp.pad(self.query_segments, ((0, 0), (0, count)))
    return self.replace(query_segments=segments, distances=distances)

  def block(self, start: Array, size: int) -> 'Visible':
    """Keeps `size` of the queries, from number `start` on."""
    num_queries = self.query_segments.shape[1]
    take = jax.lax.dynamic_slice_in_dim
    distances = self.distances
    if distances is not None:
      length = size + self.key_segments.shape[1] - 1
      distances = take(distances, num_queries - size - start, length, axis=1)
    return self.replace(
      query_segments=take(self.query_segments, start, size, axis=1),
      distances=distances,
      first=self.first + start,
    )


def same_segment(queries: Array, keys: Array) -> Array:
  """Returns bool [B, T, S]: whether a query and a key are of one example.

  Args:
    queries: int32 [B, T], the examples of the queries; 0 at padding.
    keys: int32 [B, S], the examples of the keys; 0 at padding.
  """
  queries = queries[:, :, None]
  return (queries == keys[:, None, :]) & (queries > 0)


def attend(
  q: Array,
  k: Array,
  v: Array,
  visible: Visible,
  kept: Array | None = None,
  keep_rate: float = 1.0,
  form: str = 'auto',
) -> Array:
  """Returns what each query reads, [B, T, H, K].

  Args:
    q: the queries, [B, T, H, K]. They are not scaled. There may be a multiple
      of the keys' rows, [B * G, 1, H, K]: G rows of one query each share keys.
    k: the keys, [B, S, H, K].
    v: the values, [B, S, H, K].
    visible: what may see what.
    kept: bool [B, H, 1, S], the keys that dropout keeps; None keeps all.
    keep_rate: the share that it keeps.
    form: one of `FORMS`. 'auto' is 'plain' for small logits.
  """
  rows = k.shape[0]
  if q.shape[0] > rows:
    # The rows that share keys become queries of one row.
    together, shared = q.reshape(rows, -1, *q.shape[2:]), visible.shared(rows)
    x = attend(together, k, v, shared, form='plain')
    return x.reshape(q.shape)
  compute = functools.partial(_attend, kept=kept, keep_rate=keep_rate)
  size = block_size(q.shape, k.shape[1], q.dtype, form)
  if size is None:
    return compute(q, k, v, visible)
  return _in_blocks(compute, q, k, v, visible, size)


def block_size(
  queries: tuple[int, ...], num_keys: int, dtype: Any, form: str
) -> int | None:
  """The number of queries in a block; None for the plain form.

  Args:
    queries: the shape of the queries, [B, T, H, K].
    num_keys: S.
    dtype: the type of the logits.
    form: see `attend`.
  """
  batch, length, heads, _ = queries
  if form == 'plain' or length == 1:
    return None
  share = partitioning.shard_size((batch, heads), ('batch', 'heads'))
  row = share * num_keys * jnp.dtype(dtype).itemsize
  small = _SMALL_ON_CPU if partitioning.platform() == 'cpu' else _SMALL
  if form == 'auto' and row * length <= small:
    return None
  fitting = [size for size in _SIZES if row * size <= _OF_BLOCK]
  return min(length, fitting[0] if fitting else _SIZES[-1])


def _attend(
  q: Array,
  k: Array,
  v: Array,
  visible: Visible,
  kept: Array | None,
  keep_rate: float,
) -> Array:
  logits = jnp.einsum('bthk,bshk->bhts', q, k)
  bias = visible.bias()
  if bias is not None:
    logits += bias.astype(logits.dtype)
  logits = jnp.where(visible.mask()[:, None], logits, MASKED)
  weights = jax.nn.softmax(logits.astype(jnp.float32)).astype(v.dtype)
  if kept is not None:
    weights = jnp.where(kept, weights / keep_rate, 0)
  return jnp.einsum('bhts,bshk->bthk', weights, v)


def _in_blocks(
  compute: Callable[[Array, Array, Array, Visible], Array],
  q: Array,
  k: Array,
  v: Array,
  visible: Visible,
  size: int,
) -> Array:
  batch, length, heads, dim = q.shape
  count = -(-length // size)
  if padding := count * size - length:
    q = jnp.pad(q, ((0, 0), (0, padding), (0, 0), (0, 0)))
    visible = visible.padded(padding)
  # Nothing of a block is kept for the backward pass. A scan keeps XLA from
  # merging the recomputation with the first computation.
  compute = jax.checkpoint(compute, prevent_cse=False)

  def step(_: None, block: tuple[Array, Array]) -> tuple[None, Array]:
    start, q = block
    return None, compute(q, k, v, visible.block(start, size))

  starts = jnp.arange(count) * size
  blocks = q.reshape(batch, count, size, heads, dim).swapaxes(0, 1)
  _, x = jax.lax.scan(step, None, (starts, blocks))
  return x.swapaxes(0, 1).reshape(batch, -1, heads, dim)[:, :length]
