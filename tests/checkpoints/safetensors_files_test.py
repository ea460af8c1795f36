"""Safetensors files: opened without reading, and refused where damaged."""

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import safetensors_files
from moe_lite.core.errors import UserError
from tests import permissions

LEAVES = {
  'a': np.arange(6, dtype=np.float32).reshape(2, 3),
  'b': np.ones(4, ml_dtypes.bfloat16),
  'c': np.zeros((), np.int8),
}


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'leaves.safetensors'
  safetensors_files.write(path, LEAVES, {'format': 'pt'})
  return path


def test_shapes_and_types_are_known_before_anything_is_read(path):
  found = safetensors_files.arrays(path)
  assert {x: (y.shape, y.dtype.name) for x, y in found.items()} == {
    x: (y.shape, y.dtype.name) for x, y in LEAVES.items()
  }
  read = safetensors_files.read(path)
  for name, leaf in LEAVES.items():
    assert read[name].tobytes() == found[name].read().tobytes()
    assert read[name].tobytes() == leaf.tobytes()
  with safetensors.safe_open(path, 'numpy') as file:
    assert file.metadata() == {'format': 'pt'}


def test_what_cannot_be_read_is_named(path):
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(UserError, match='is not a safetensors file'):
    safetensors_files.arrays(path)
  with pytest.raises(UserError, match='nowhere cannot be read'):
    safetensors_files.arrays(path.parent / 'nowhere')


@pytest.mark.parametrize('umask', (0o022, 0o027, 0o077))
def test_they_have_the_permissions_that_the_user_gives(tmp_path, umask):
  with permissions.follow_the_umask(tmp_path, umask):
    for _ in range(2):  # The second time, the file is there.
      safetensors_files.write(tmp_path / 'leaves.safetensors', LEAVES)
