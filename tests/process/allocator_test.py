"""Memory that is freed stays with the process, on a CPU."""

import subprocess
import sys

import pytest

# Prints whether freed memory is kept, and how often a page was missing while
# 256 MiB were written, freed and written again.
PROGRAM = """
import resource
import numpy as np
from moe_lite.process import allocator

is_kept = allocator.keep_freed()
missing = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**28, np.uint8)
before = missing()
np.ones(2**28, np.uint8)
print(is_kept, missing() - before)
"""


def run(**variables: str) -> tuple[bool, int]:
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    env={'PATH': '', **variables},
    capture_output=True,
    text=True,
    check=True,
  )
  is_kept, missing = done.stdout.split()
  return is_kept == 'True', int(missing)


def test_pages_are_written_again_without_being_mapped_again():
  is_kept, missing = run(JAX_PLATFORMS='cpu')
  if not is_kept:
    pytest.skip('This machine has another C library, or many cores.')
  assert missing < 1000  # Of 65,536.


@pytest.mark.parametrize(
  'variables',
  [
    {'JAX_PLATFORMS': 'tpu,cpu'},
    {'JAX_PLATFORMS': 'cpu', 'MALLOC_ARENA_MAX': '4'},
    {'JAX_PLATFORMS': 'cpu', 'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'},
  ],
)
def test_accelerators_and_what_the_user_said_are_left_alone(variables):
  is_kept, _ = run(**variables)
  assert not is_kept
