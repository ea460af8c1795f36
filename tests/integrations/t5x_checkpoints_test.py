"""What T5X saves and restores. T5X itself is not needed to compute it."""

import flax.serialization
import numpy as np
import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.integrations import t5x_checkpoints

ADAPTER = 'encoder/layers_0/attention/key_adapter/scale'


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """The mini base as a checkpoint of T5X."""
  folder = tmp_path_factory.mktemp('base') / 'checkpoint_1000'
  leaves = {
    path: np.asarray(leaf, np.float32)
    for path, leaf in bases.read('mini').items()
  }
  native.write(str(folder), leaves, 1000)
  return folder


@pytest.fixture
def leaves(base):
  """Path to what the checkpoint's file says of a leaf."""
  contents = flax.serialization.msgpack_restore(
    (base / 'checkpoint').read_bytes()
  )
  return t5x_checkpoints.flatten(contents['optimizer'])


def test_a_base_that_lacks_a_parameter_is_refused(base, leaves):
  missing = 'encoder/layers_1/mlp/wo/kernel'
  wanted = parameters.unflatten(
    {**leaves, f'target/{ADAPTER}': 0, 'state/param_states/x/v': None}
  )
  whole = parameters.unflatten(leaves)
  restored = t5x_checkpoints.restore_onto_base(whole, wanted, str(base))
  assert 'state' not in restored
  del leaves[f'target/{missing}']
  part = parameters.unflatten(leaves)
  with pytest.raises(UserError, match=f'lacks 1 parameters.*{missing}'):
    t5x_checkpoints.restore_onto_base(part, wanted, str(base))
  adapters = {'target': {ADAPTER: 0}}
  with pytest.raises(UserError, match='is not a T5X checkpoint'):
    t5x_checkpoints.restore_onto_base(adapters, wanted, 'nowhere')


def test_what_trains_is_saved_and_the_base_is_added_again(base, leaves):
  state = parameters.unflatten(
    {
      **leaves,
      f'target/{ADAPTER}': 7,
      f'state/param_states/{ADAPTER}/v': 8,
      'state/param_states/token_embedder/embedding/v': None,
      'state/step': 9,
    }
  )
  pattern = parameters.TRAINABLE_ADAPTERS
  saved, infos = t5x_checkpoints.save_trainable(state, state, pattern)
  assert saved == infos
  assert t5x_checkpoints.flatten(saved) == {
    f'target/{ADAPTER}': 7,
    f'state/param_states/{ADAPTER}/v': 8,
    'state/step': 9,
  }
  restored = t5x_checkpoints.restore_onto_base(
    saved, state, str(base), is_resuming=True
  )
  found = t5x_checkpoints.flatten(restored)
  assert found.keys() == t5x_checkpoints.flatten(state).keys()
  assert found[f'target/{ADAPTER}'] == 7 and found['state/step'] == 9
  assert found['state/param_states/token_embedder/embedding/v'] is None
