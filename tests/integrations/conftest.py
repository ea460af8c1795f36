"""A base for the tests of this folder."""

import numpy as np
import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native


@pytest.fixture(scope='session')
def base(tmp_path_factory):
  """The mini base as a checkpoint of T5X, as it stands after 1,000 steps."""
  folder = tmp_path_factory.mktemp('base') / 'checkpoint_1000'
  leaves = {
    path: np.asarray(leaf, np.float32)
    for path, leaf in bases.read('mini').items()
  }
  native.write(str(folder), leaves, 1000)
  return folder
