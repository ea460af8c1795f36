"""Runs as others read them: whole or absent, at any step."""

import jax
import numpy as np
import pytest

from moe_lite.checkpoints import runs
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core.errors import UserError
from tests.checkpoints.run_trees import tree


def test_the_last_ones_are_kept(run):
  values, description = runs.restore_trainable(str(run))
  assert description.step == 3
  jax.tree.map(np.testing.assert_array_equal, values, tree(3.0))
  assert runs.restore_trainable(str(run), 2)[1].step == 2
  with pytest.raises(UserError, match='no checkpoint at step 1; it has 2, 3'):
    runs.restore_trainable(str(run), 1)


def test_half_written_checkpoints_are_ignored(run):
  (run / 'checkpoints' / '4.orbax-checkpoint-tmp-17' / 'trainable').mkdir(
    parents=True
  )
  (run / 'checkpoints' / '5' / 'trainable').mkdir(parents=True)
  assert runs.restore_trainable(str(run))[1].step == 3
  assert runs.describe(str(run)).step == 3
  checkpoints = Checkpoints(str(run))
  assert checkpoints.latest_step() == 3
  checkpoints.close()


@pytest.mark.parametrize('exists', [False, True])
def test_no_checkpoint_is_an_error_that_says_so(tmp_path, exists):
  if exists:
    (tmp_path / 'checkpoints').mkdir()
  message = 'no whole checkpoint yet' if exists else 'is not a run folder'
  with pytest.raises(UserError, match=message):
    runs.restore_trainable(str(tmp_path))
