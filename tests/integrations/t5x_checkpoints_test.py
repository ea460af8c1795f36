"""What T5X saves and restores. T5X itself is not needed to compute it."""

import dataclasses

import flax.serialization
import numpy as np
import pytest

from moe_lite.checkpoints import formats
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.core.errors import Damaged, UserError
from moe_lite.integrations import t5x_checkpoints
from moe_lite.integrations.t5x_checkpoints import FromBase
from moe_lite.t5.method import Method

ADAPTER = 'encoder/layers_0/attention/key_adapter/scale'
KERNEL = 'encoder/layers_1/mlp/wo/kernel'
PATTERN = parameters.TRAINABLE_ADAPTERS
SAID = Description(Method(PATTERN, {'key': 'IA3()'}), BaseInfo('mini', '0123'))


@dataclasses.dataclass(frozen=True)
class Info:
  """What T5X knows of a leaf."""

  name: str
  shape: tuple[int, ...] = ()


@pytest.fixture
def leaves(base):
  """Path to what the checkpoint's file says of a leaf."""
  contents = flax.serialization.msgpack_restore(
    (base / 'checkpoint').read_bytes()
  )
  return t5x_checkpoints.flatten(contents['optimizer'])


@pytest.fixture
def state():
  return {
    f'target/{ADAPTER}': np.zeros((2, 3), np.float32),
    f'target/{KERNEL}': np.ones((4, 4), np.float32),
    f'state/param_states/{ADAPTER}/v': np.float32(8),
    f'state/param_states/{KERNEL}/v': None,
    'state/step': np.int32(9),
  }


def save(state):
  infos = {path: Info(path) for path in state}
  return t5x_checkpoints.save(
    parameters.unflatten(state), parameters.unflatten(infos), PATTERN, SAID
  )


def test_what_trains_is_saved_and_what_it_is(state):
  saved, infos = save(state)
  said = native.description_in(saved, 'here')
  assert (said.step, said.base, said.method) == (9, SAID.base, SAID.method)
  assert said.tree == {ADAPTER: [[2, 3], 'float32']}
  paths = {x for x in state if KERNEL not in x} | {native.DESCRIPTION}
  assert t5x_checkpoints.flatten(saved).keys() == paths
  assert t5x_checkpoints.flatten(infos).keys() == paths
  contents = np.array(saved[native.DESCRIPTION])
  contents[contents.size // 2] ^= 1
  with pytest.raises(Damaged, match='here'):
    native.description_in({native.DESCRIPTION: contents}, 'here')


def test_what_was_restored_is_compared_with_what_was_saved(state):
  saved, _ = save(state)
  said = native.description_in(saved, 'here')
  assert said.hashes['trainable'].keys() == {ADAPTER}
  t5x_checkpoints.check('here', saved, said)
  for path in (f'target/{ADAPTER}', f'state/param_states/{ADAPTER}/v'):
    other = t5x_checkpoints.flatten(saved)
    other[path] = other[path] + np.float32(1)
    with pytest.raises(Damaged, match=f'here is damaged: .*{ADAPTER}'):
      t5x_checkpoints.check('here', parameters.unflatten(other), said)
  # Evaluation does not restore what the optimizer keeps.
  t5x_checkpoints.check('here', {'target': saved['target']}, said)


def test_the_base_is_added_again(state):
  saved, _ = save(state)
  wanted = parameters.unflatten(state)
  assert not t5x_checkpoints.is_whole(saved)
  restored = t5x_checkpoints.add_base(saved, wanted)
  assert not t5x_checkpoints.lacks(restored, wanted)
  found = t5x_checkpoints.flatten(restored)
  assert found.keys() == state.keys()
  assert found[f'target/{KERNEL}'] == FromBase()
  assert found[f'state/param_states/{KERNEL}/v'] is None
  assert found['state/step'] == 9
  # Adapters are in no base.
  more = parameters.unflatten({**state, 'target/x/value_adapter/scale': 0})
  restored = t5x_checkpoints.add_base(saved, more)
  assert t5x_checkpoints.lacks(restored, more) == ['x/value_adapter/scale']


def test_a_whole_checkpoint_needs_no_base(leaves):
  whole = parameters.unflatten(leaves)
  assert t5x_checkpoints.is_whole(whole)
  restored = t5x_checkpoints.add_base(whole, whole)
  assert t5x_checkpoints.flatten(restored).keys() == leaves.keys()
  assert native.description_in(whole, 'here') is None


def test_exports_of_a_checkpoint_know_their_method(state, tmp_path):
  saved, _ = save(state)
  file = tmp_path / 'checkpoint_9' / native.FILE
  file.parent.mkdir()
  contents = {'version': 3, 'optimizer': saved}
  file.write_bytes(flax.serialization.to_bytes(contents))
  tree, said = native.FORMAT.trained(str(file.parent))
  assert parameters.flatten(tree).keys() == {ADAPTER}
  assert said == native.FORMAT.describe(str(file.parent))
  damaged = t5x_checkpoints.flatten(saved)
  damaged[f'target/{ADAPTER}'] = np.ones((2, 3), np.float32)
  other = tmp_path / 'other' / native.FILE
  other.parent.mkdir()
  contents = {'version': 3, 'optimizer': parameters.unflatten(damaged)}
  other.write_bytes(flax.serialization.to_bytes(contents))
  with pytest.raises(Damaged, match='other is damaged: .*key_adapter/scale'):
    native.FORMAT.trained(str(other.parent))
  found = native.FORMAT.inspect(str(file.parent))
  assert found.facts['step'] == 9 and 'mini' in found.facts['base']
  with pytest.raises(UserError, match='give one, such as .*checkpoint_9'):
    formats.read_trained(str(tmp_path))
