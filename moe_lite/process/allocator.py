"""On a CPU, keeps memory that a step has freed for the next step.

XLA allocates the temporary memory of a program anew each time that it runs. The
C library gives large blocks back to the system, which must then clear and map
every page again. A step of the mini model took a third longer for this.
"""

import ctypes
import glob
import os

# Numbers of glibc's `mallopt`: what is kept at most, by how much the heap
# grows, how many blocks lie outside of it, and how many heaps there are.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {
  _ARENA_MAX: 1,  # Other heaps are too small for large blocks.
  _MMAP_MAX: 0,
  _TRIM_THRESHOLD: 2**31 - 1,
  _TOP_PAD: 2**28,
}
# Threads wait for each other at a single heap. With many it would cost more.
_MOST_CORES = 16
# Devices of TPUs, and of GPUs from NVIDIA and AMD.
_ACCELERATORS = ('/dev/accel*', '/dev/vfio/[0-9]*', '/dev/nvidia*', '/dev/kfd')


def keep_freed() -> bool:
  """Has the C library of this process keep what is freed.

  It must be called before threads begin. Whoever sets a variable of glibc, such
  as MALLOC_ARENA_MAX, or loads another allocator is left alone.

  Returns:
    Whether it does so. It does not where JAX may find an accelerator, on a
    machine of many cores, or without glibc.
  """
  if not _computes_on_cpu() or (os.cpu_count() or 1) > _MOST_CORES:
    return False
  if any(name.startswith('MALLOC_') for name in os.environ):
    return False
  if 'GLIBC_TUNABLES' in os.environ or 'LD_PRELOAD' in os.environ:
    return False
  try:
    library = ctypes.CDLL(None)
    library.gnu_get_libc_version  # noqa: B018
  except (AttributeError, OSError):
    return False
  return all(library.mallopt(*setting) for setting in _SETTINGS.items())


def _computes_on_cpu() -> bool:
  platforms = os.environ.get('JAX_PLATFORMS')
  if platforms:
    return platforms == 'cpu'
  return not any(glob.glob(pattern) for pattern in _ACCELERATORS)
