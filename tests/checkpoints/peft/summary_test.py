"""A folder of PEFT's is shown without its base."""

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints.peft.folder import write
from moe_lite.checkpoints.peft.summary import FORMAT, WEIGHTS, summary
from moe_lite.core.errors import UserError
from tests.checkpoints.peft.drawing import draw, network


@pytest.fixture
def folder(tmp_path):
  standing = network(dict.fromkeys(('key', 'intermediate'), adapters.IA3))
  write(str(tmp_path / 'theirs'), draw(standing), standing, 'org/base')
  return tmp_path / 'theirs'


def test_type_leaves_and_options_are_theirs(folder):
  kind, leaves, facts = summary(str(folder))
  assert kind == 'IA3'
  assert all(name.startswith('base_model.model.') for name in leaves)
  assert {x.dtype for x in leaves.values()} == {np.dtype('float32')}
  assert facts == {
    'base_model_name_or_path': 'org/base',
    'target_modules': ['k', 'wo'],
    'feedforward_modules': ['wo'],
  }
  found = FORMAT.inspect(str(folder))
  assert found.kind == "IA3 of PEFT's" and found.leaves.keys() == leaves.keys()


def test_weights_of_torch_are_not_read(folder):
  (folder / WEIGHTS).rename(folder / 'adapter_model.bin')
  with pytest.raises(UserError, match='is missing. adapter_model.bin is not'):
    summary(str(folder))
