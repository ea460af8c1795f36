"""Tells whether what is read is what was written, and whether it is finite.

Files hold a hash beside what they hold. Three kinds are used:

  digest    of a leaf on the host; see `parameters.digest`. Bases and exported
            adapters have them.
  checksum  of a leaf on devices. It is computed where the leaf lies, so that it
            is cheap even if no single host holds the leaf. The checkpoints of
            runs have them.
  seal      of the JSON text that says the rest.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from moe_lite.core import json_text, parameters
from moe_lite.core.errors import Damaged, UserError, some
from moe_lite.core.progress import say
from moe_lite.core.types import Tree

_SEAL = 'seal'
_allows_nonfinite = False
# For floating-point types of 2, 4 and 8 bytes: the bits of the exponent.
_EXPONENTS = {
  'float16': 0x7C00,
  'bfloat16': 0x7F80,
  'float32': 0x7F800000,
  'float64': 0x7FF0000000000000,
}


def seal(said: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what a file is to say, with a hash of it as its last entry."""
  return {**said, _SEAL: _hash(said)}


def unseal(said: Any, where: str) -> dict[str, Any]:
  """Returns what `seal` was given.

  What has no seal is returned as it is: earlier versions wrote none.

  Args:
    said: what a file says.
    where: the file, for the message.

  Raises:
    Damaged: if it says something else than what was sealed.
  """
  if not isinstance(said, dict):
    raise Damaged(f'{where} is damaged: it holds {type(said).__name__} data.')
  rest = {name: value for name, value in said.items() if name != _SEAL}
  if _SEAL in said and said[_SEAL] != _hash(rest):
    raise Damaged(
      f'{where} was changed after it was written: its seal does not match. '
      'Write or fetch it again. If you changed it yourself on purpose, remove '
      f'its entry {_SEAL!r}.'
    )
  return rest


def is_finite(leaf: np.ndarray) -> bool:
  """Whether a leaf on the host holds neither NaN nor infinity.

  This compares bits, because NumPy is slow for bfloat16.
  """
  exponent = _EXPONENTS.get(leaf.dtype.name)
  if exponent is None or not leaf.size:
    return True
  size = leaf.dtype.itemsize
  bits = np.ascontiguousarray(leaf).reshape(-1).view(f'u{size}')
  # An exponent of ones makes a number larger, as an integer, than any finite
  # one of its sign. The sign is the highest bit.
  sign = 1 << (8 * size - 1)
  return bool(
    bits.max() < sign + exponent and bits.view(f'i{size}').max() < exponent
  )


@contextlib.contextmanager
def allowing_nonfinite() -> Iterator[None]:
  """Lets `check_finite` print its message within the block, and go on."""
  global _allows_nonfinite
  before, _allows_nonfinite = _allows_nonfinite, True
  try:
    yield
  finally:
    _allows_nonfinite = before


def check_finite(where: str, name: str, leaf: np.ndarray) -> None:
  """Raises Damaged if a leaf holds NaN or infinity.

  Args:
    where: what the leaf is read from, for the message.
    name: the path of the leaf.
    leaf: the leaf, on the host.
  """
  if is_finite(leaf):
    return
  count = int(np.sum(~np.isfinite(np.asarray(leaf, np.float32))))
  found = (
    f'{where}: {count} of {leaf.size} numbers of {name} are NaN or infinite.'
  )
  if _allows_nonfinite:
    say(found)
    return
  raise Damaged(
    f'{found} The file is damaged, or the training that wrote it had diverged. '
    'Take an earlier checkpoint, or write or fetch it again. To look at it '
    'nevertheless: python -m moe_lite.convert inspect PATH --allow_nonfinite'
  )


def checksums(tree: Tree) -> dict[str, str]:
  """Returns the checksum of each leaf, by its path.

  Every process of a run must call this.

  Args:
    tree: arrays on devices or on the host, layers apart.
  """
  # One after the other: a sum over the devices of several processes waits for
  # all of them, and CPUs that begin many at once, each process in its own
  # order, wait for each other for ever.
  sums = {
    path: jax.device_get(_sums(leaf))
    for path, leaf in parameters.flatten(tree).items()
  }
  return {path: f'{high:08x}{low:08x}' for path, (high, low) in sums.items()}


def check_same(
  where: str, saved: Mapping[str, str], found: Mapping[str, str]
) -> None:
  """Raises Damaged unless leaves have the hashes that were saved with them.

  Args:
    where: what the leaves were read from, for the message.
    saved: path to hash, of all leaves.
    found: the same, of what was read.
  """
  changed = sorted(
    name
    for name in saved.keys() | found.keys()
    if saved.get(name) != found.get(name)
  )
  if changed:
    raise Damaged(
      f'{where} is damaged: {some(changed)} {_has(changed)} other values than '
      'were saved.'
    )


def check_given(where: str, given: Any) -> Mapping[str, str]:
  """Returns a mapping from paths to hashes, as a file gives it.

  Raises:
    UserError: if it is something else.
  """
  if not isinstance(given, Mapping) or not all(
    isinstance(x, str) for x in given.values()
  ):
    raise UserError(f'{where} is damaged: its hashes are {given!r:.80}.')
  return given


@jax.jit
def _sums(leaf: jax.Array) -> jax.Array:
  """Two sums over all numbers, of their bits mixed with their places: [2].

  The finalizer of MurmurHash3 mixes them, which maps equal places with other
  bits to other summands. So no change of a single number goes unseen.
  """
  leaf = jnp.asarray(leaf)
  if leaf.dtype == jnp.bool_:
    leaf = leaf.astype(jnp.uint8)
  kind = jnp.dtype(f'uint{8 * leaf.dtype.itemsize}')
  bits = jax.lax.bitcast_convert_type(leaf, kind).astype(jnp.uint32)
  place = jnp.zeros(leaf.shape, jnp.uint32)
  for axis, size in enumerate(leaf.shape):
    along = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
    place = place * jnp.uint32(size) + along
  return jnp.stack(
    [
      jnp.sum(_mix(bits ^ _mix(place + jnp.uint32(start))), dtype=jnp.uint32)
      for start in (0x9E3779B1, 0x3C6EF372)
    ]
  )


def _mix(x: jax.Array) -> jax.Array:
  x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def _hash(said: Mapping[str, Any]) -> str:
  text = json_text.dumps(json.loads(json_text.dumps(said)), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _has(names: list[str]) -> str:
  return 'has' if len(names) == 1 else 'have'
