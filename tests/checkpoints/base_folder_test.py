"""Bases of our own form: written whole, with what is said of them."""

import json

import numpy as np
import pytest

from moe_lite.checkpoints import base_folder, safetensors_files
from moe_lite.checkpoints.base_folder import FILE, FOLDER, WEIGHTS, save_base
from moe_lite.checkpoints.metadata import DIGESTS, METADATA, read_metadata
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from tests import tiny


def test_layers_lie_apart_with_metadata_and_vocabulary(tmp_path):
  stacked = parameters.stack_layers(tiny.base_params())
  folder = str(tmp_path / 'base')
  save_base(folder, stacked, {'seed': 0}, b'pieces')
  fingerprint = parameters.fingerprint(tiny.base_params())
  said = read_metadata(folder)
  digests = said.pop(DIGESTS)
  assert digests.keys() == parameters.flatten(tiny.base_params()).keys()
  assert said == {'seed': 0, 'fingerprint': fingerprint}
  assert (tmp_path / 'base' / 'spiece.model').read_bytes() == b'pieces'
  assert FOLDER.is_at(folder) and FILE.is_at(f'{folder}/{WEIGHTS}')
  for form, path in ((FOLDER, folder), (FILE, f'{folder}/{WEIGHTS}')):
    found = form.arrays(path)
    expected = parameters.flatten(tiny.base_params())
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
      np.testing.assert_array_equal(found[name].read(), leaf)


def test_a_base_is_replaced_only_if_asked_for(tmp_path):
  folder = str(tmp_path / 'base')
  save_base(folder, tiny.base_params(), {})
  with pytest.raises(UserError, match='not overwritten'):
    save_base(folder, tiny.base_params(1), {})
  save_base(folder, tiny.base_params(1), {'seed': 1}, overwrite=True)
  assert read_metadata(folder)['seed'] == 1


def test_leaves_of_hugging_face_need_their_folder(tmp_path):
  name = 'encoder.block.0.layer.0.layer_norm.weight'
  leaves = {name: np.ones(3, np.float32)}
  safetensors_files.write(tmp_path / base_folder.WEIGHTS, leaves)
  for form, path in ((FOLDER, tmp_path), (FILE, tmp_path / WEIGHTS)):
    with pytest.raises(UserError, match='give its folder, with config.json'):
      form.arrays(str(path))


@pytest.mark.parametrize(
  'contents', ['{"netw', '[]', '{"network": 3}', '{"text": {"vocabulary": 3}}']
)
def test_damaged_metadata_are_named(tmp_path, contents):
  (tmp_path / METADATA).write_text(contents)
  with pytest.raises(UserError, match='metadata.json is damaged'):
    read_metadata(str(tmp_path))
  (tmp_path / METADATA).write_text(json.dumps({'text': {}}))
  assert read_metadata(str(tmp_path)) == {'text': {}}
