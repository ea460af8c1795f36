"""LoRA with averaged matrices: `(x sum_e p_e a_e) (sum_e p_e b_e)`.

Sources: Muqeeth et al., arXiv 2306.03745, section 3 (SMEAR); Ponti et al.,
arXiv 2202.13914, section 3 (Poly); Caccia et al., arXiv 2211.03831, section 3.1
(MHR, where the features of `a` and of `b` are cut into splits with weights of
their own).

With one-hot weights, this is the sum of products that MoLoRA computes. It then
costs no more than one LoRA if a row has one expert.
"""

import jax.numpy as jnp

from moe_lite.core.matmuls import narrow, widen
from moe_lite.core.types import Array


def averaged_update(
  x: Array, a: Array, b: Array, weights: Array, scale: float
) -> Array:
  """Returns the update of averaged pairs, [B, L, out].

  If a row has one decision, its matrices are averaged first. Otherwise every
  token has its own weights. Then the outputs of the first matrices are averaged
  in rank space, so that no matrix is made for a token.

  Args:
    x: the inputs, [B, L, in].
    a: [E, in, R].
    b: [E, R, out].
    weights: float32 [B, L, E] or [B, 1, E]; or with S splits, [B, L, S, E] or
      [B, 1, S, E].
    scale: multiplies the update.
  """
  if weights.ndim == 3:
    weights = weights[:, :, None]
  S = weights.shape[2]
  if weights.shape[1] == 1:
    return _by_row(x, _cut(a, S), _cut_last(b, S), weights[:, 0], scale)
  if S == 1:
    return _by_token(x, a, b, weights[:, :, 0], scale)
  return _by_split(x, _cut(a, S), _cut_last(b, S), weights, scale)


def _by_row(
  x: Array, a: Array, b: Array, weights: Array, scale: float
) -> Array:
  """Args: a [E, S, in / S, R], b [E, R, S, out / S], weights [B, S, E]."""
  B, L, size = x.shape
  down = jnp.einsum('bse,esir->bsir', weights, a).reshape(B, size, -1)
  up = jnp.einsum('bse,erso->brso', weights, b)
  up = up.reshape(B, up.shape[1], -1)
  h = jnp.einsum('bli,bir->blr', x, down.astype(x.dtype)) * scale
  return jnp.einsum('blr,bro->blo', h, up.astype(x.dtype))


def _by_token(
  x: Array, a: Array, b: Array, weights: Array, scale: float
) -> Array:
  """Args: a [E, in, R], b [E, R, out], weights [B, L, E]."""
  E, _, R = a.shape
  columns = a.swapaxes(0, 1).reshape(x.shape[-1], E * R)
  p = jnp.repeat(weights.astype(x.dtype), R, axis=-1)
  together = jnp.tile(jnp.eye(R, dtype=x.dtype), (E, 1))
  h = (p * narrow(x, columns.astype(x.dtype))) @ together * scale
  return widen(p * jnp.tile(h, E), b.reshape(E * R, -1).astype(x.dtype))


def _by_split(
  x: Array, a: Array, b: Array, weights: Array, scale: float
) -> Array:
  """Args: a [E, S, in / S, R], b [E, R, S, out / S], weights [B, L, S, E]."""
  S = weights.shape[2]
  p = weights.astype(x.dtype)
  parts = x.reshape(*x.shape[:-1], S, -1)
  down = jnp.einsum('blsi,esir->blser', parts, a.astype(x.dtype))
  h = jnp.einsum('blser,blse->blr', down, p) * scale
  ranks = jnp.einsum('blr,blse->blser', h, p)
  y = jnp.einsum('blser,erso->blso', ranks, b.astype(x.dtype))
  return y.reshape(*x.shape[:-1], -1)


def _cut(a: Array, splits: int) -> Array:
  """[E, in, R] to [E, S, in / S, R]."""
  return a.reshape(a.shape[0], splits, -1, a.shape[2])


def _cut_last(b: Array, splits: int) -> Array:
  """[E, R, out] to [E, R, S, out / S]."""
  return b.reshape(*b.shape[:2], splits, -1)
