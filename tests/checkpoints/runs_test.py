"""Checkpoints of a run: whole or absent, on any mesh, of one method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.checkpoints import runs
from moe_lite.checkpoints.leaf_shapes import check_fits
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.training import optimizers
from tests import tiny

PATHS = {
  'encoder/layers_0/attention/key_adapter/scale': (2, 3),
  'encoder/layers_0/attention/key_adapter/router/kernel': (3, 2),
  'encoder/layers_1/attention/key_adapter/scale': (2, 3),
}


def tree(value=1.0, paths=PATHS):
  return parameters.unflatten(
    {path: jnp.full(shape, value) for path, shape in paths.items()}
  )


def rest(values):
  optimizer = optimizers.adafactor(optimizers.constant(1.0))
  return {'optimizer': optimizer.init(values), 'step': jnp.int32(7)}


@pytest.fixture
def run(tmp_path):
  """A run folder with checkpoints at steps 1, 2 and 3, of which 2 are kept."""
  checkpoints = Checkpoints(str(tmp_path), keep=2)
  for step in (1, 2, 3):
    values = tree(step)
    position = {'shard_0_of_1': b'%d' % step}
    checkpoints.save(step, values, rest(values), position, tiny.DESCRIPTION)
  checkpoints.close()
  return tmp_path


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
