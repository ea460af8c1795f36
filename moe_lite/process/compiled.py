"""Keeps compiled programs on disk, so that a second start does not compile."""

import hashlib
import os
import pathlib

import jax

# JAX's name for where it keeps programs.
_FOLDER = 'jax_compilation_cache_dir'
# Where no limit is set, the programs that were not used for longest go first.
_MAX_BYTES = 2**32
# Programs that compile faster than this are not kept, in seconds.
_MIN_SECONDS = 0.1


def keep() -> None:
  """Has JAX keep what it compiles in the cache of this user.

  Whoever has told JAX where to keep programs is left alone. JAX's own variables
  are JAX_COMPILATION_CACHE_DIR, for another folder or a bucket;
  JAX_ENABLE_COMPILATION_CACHE=false, which keeps nothing; and
  JAX_COMPILATION_CACHE_MAX_SIZE, in bytes.
  """
  if getattr(jax.config, _FOLDER) is not None:
    return
  place = folder()
  try:
    place.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # Nothing can be kept here. It only takes longer.
  if not os.access(place, os.W_OK):
    return
  jax.config.update(_FOLDER, str(place))
  if 'JAX_COMPILATION_CACHE_MAX_SIZE' not in os.environ:
    jax.config.update('jax_compilation_cache_max_size', _MAX_BYTES)
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    name = 'jax_persistent_cache_min_compile_time_secs'
    jax.config.update(name, _MIN_SECONDS)


def folder() -> pathlib.Path:
  """Returns the folder of the programs that were compiled on this machine.

  A home may be shared by machines whose CPUs have other instructions. JAX would
  take the programs of one for those of another.
  """
  cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(cache) / 'moe_lite' / 'compiled' / _machine()


def _machine() -> str:
  """Returns a short name of what the CPU can do."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    lines = [' '.join(os.uname())]
  told = sorted({x for x in lines if x.startswith(('flags', 'Features'))})
  return hashlib.sha256('\n'.join(told or lines[:1]).encode()).hexdigest()[:12]
