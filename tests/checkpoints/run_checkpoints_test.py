"""Checkpoints of the loop: everything comes back, or one message says why."""

import jax
import numpy as np
import pytest

from moe_lite.checkpoints import runs
from moe_lite.checkpoints.leaf_shapes import check_fits
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core.errors import UserError
from tests.checkpoints.run_trees import PATHS, rest, tree


def test_everything_comes_back(run):
  checkpoints = Checkpoints(str(run))
  assert checkpoints.latest_step() == 3
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    (tree(), rest(tree())),
  )
  shards = ['shard_0_of_1', 'shard_0_of_2']
  values, others, position = checkpoints.restore(3, *abstract, shards)
  expected = (tree(3.0), rest(tree(3.0)))
  jax.tree.map(np.testing.assert_array_equal, (values, others), expected)
  assert position == {'shard_0_of_1': b'3'}
  checkpoints.close()


@pytest.mark.parametrize(
  'paths, message',
  [
    (
      {**PATHS, 'encoder/layers_0/attention/key_adapter/scale': (5, 3)},
      r'\[2, 3\] in the checkpoint, now \[5, 3\].*',
    ),
    (
      {'encoder/layers_0/attention/key_adapter/a': (2, 3)},
      "key_adapter/a is not in the checkpoint. Did you mean '.*key_adapter/",
    ),
    (
      dict(list(PATHS.items())[:2]),
      'layers_1/attention/key_adapter/scale is in the checkpoint, but',
    ),
  ],
)
def test_another_method_is_refused(run, paths, message):
  wanted = tree(paths=paths)
  checkpoints = Checkpoints(str(run))
  with pytest.raises(UserError, match=message) as error:
    checkpoints.restore(3, wanted, rest(wanted))
  assert 'NUM_EXPERTS' in str(error.value)
  checkpoints.close()
  values, _ = runs.restore_trainable(str(run))
  with pytest.raises(UserError, match=message):
    check_fits(values, wanted, str(run))
