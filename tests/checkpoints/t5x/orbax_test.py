"""What T5X wrote through Orbax is a base."""

import numpy as np
import orbax.checkpoint as ocp
import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native
from moe_lite.core.errors import UserError
from tests import tiny
from tests.checkpoints.same_base import assert_is_the_base

NAME = 'encoder/layers_0/mlp/wo/kernel'


def write_by_orbax(folder, use_ocdbt):
  """As T5X's manager does: an item `state` with the whole train state."""
  state = {
    'target': tiny.base_params(),
    'state': {'step': np.int32(3), 'param_states': {'a': np.zeros(2)}},
  }
  handler = ocp.PyTreeCheckpointHandler(use_ocdbt=use_ocdbt)
  with ocp.Checkpointer(handler) as checkpointer:
    checkpointer.save(folder / 'state', ocp.args.PyTreeSave(state))
  return str(folder)


@pytest.mark.parametrize('use_ocdbt', [True, False], ids=['ocdbt', 'zarr'])
def test_what_t5x_wrote_through_orbax(tmp_path, use_ocdbt, monkeypatch):
  path = write_by_orbax(tmp_path, use_ocdbt)
  assert_is_the_base(path)
  monkeypatch.chdir(tmp_path.parent)
  assert_is_the_base(tmp_path.name)
  assert native.read_step(path) == 3


def test_a_damaged_one_of_orbax_is_named(tmp_path):
  path = write_by_orbax(tmp_path, use_ocdbt=False)
  array = tmp_path / 'state' / ('target.' + NAME.replace('/', '.'))
  (array / '0.0').write_bytes(b'half')
  with pytest.raises(UserError, match=f'{NAME} of .* cannot be read'):
    bases.read(path)
  (tmp_path / 'state' / '_METADATA').write_text('{"tree_metadata": ')
  with pytest.raises(UserError, match='not a checkpoint that Orbax can read'):
    bases.read(path)
