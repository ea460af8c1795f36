"""Weights in every format, whole or in parts, hold the same leaves."""

import flax.serialization
import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.hugging_face import model as hugging_face
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from tests.checkpoints.hugging_face import written_files as made

DTYPES = ('float32', 'float16', 'bfloat16')


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, leaf in expected.items():
    assert found[name].dtype == leaf.dtype, name
    np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def save_safetensors(path, leaves):
  safetensors.numpy.save_file(leaves, path)


def save_flax(path, leaves):
  """As transformers' Flax classes name and lay them."""
  renamed = {}
  for name, leaf in leaves.items():
    *start, last = name.removesuffix('.weight').split('.')
    kind = 'weight' if last.endswith('norm') else 'kernel'
    if last in ('shared', 'relative_attention_bias'):
      kind = 'embedding'
    leaf = np.ascontiguousarray(leaf.T) if kind == 'kernel' else leaf
    renamed['/'.join([*start, last, kind])] = leaf
  tree = parameters.unflatten(renamed)
  path.write_bytes(flax.serialization.msgpack_serialize(tree))


SAVED = {
  'model.safetensors': save_safetensors,
  'flax_model.msgpack': save_flax,
}


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('parts', [1, 3])
@pytest.mark.parametrize('name', SAVED)
def test_every_format_holds_the_same(tmp_path, name, parts, dtype):
  state = made.state('1.1', dtype)
  expected = hugging_face.read(made.write(tmp_path / 'one', state))
  folder = tmp_path / 'other'
  if parts > 1:
    made.write_shards(folder, state, parts, SAVED[name], name)
  else:
    made.write_config(folder)
    SAVED[name](folder / name, state)
  assert_same(hugging_face.read(folder), expected)


def test_safetensors_are_preferred(tmp_path):
  folder = made.write(tmp_path, made.state('1.1'))
  (folder / 'flax_model.msgpack').write_bytes(b'never read')
  (folder / 'pytorch_model.bin').write_bytes(b'never read')
  hugging_face.read(folder)


@pytest.mark.parametrize(
  'name, message',
  [
    ('model.safetensors', 'model.safetensors is not a safetensors file'),
    ('flax_model.msgpack', "flax_model.msgpack is not Flax's"),
  ],
)
@pytest.mark.parametrize('content', ['cut off', 'foreign', 'empty'])
def test_files_that_cannot_be_read_are_named(tmp_path, name, message, content):
  made.write_config(tmp_path)
  SAVED[name](tmp_path / name, made.state('1.1'))
  whole = (tmp_path / name).read_bytes()
  contents = {
    'cut off': whole[: len(whole) * 2 // 3],
    'foreign': b'version https://git-lfs',
    'empty': b'',
  }
  (tmp_path / name).write_bytes(contents[content])
  with pytest.raises(UserError, match=message):
    bases.read(str(tmp_path))


def test_a_missing_shard_and_a_broken_index_are_named(tmp_path):
  name = 'model.safetensors'
  paths = made.write_shards(
    tmp_path, made.state('1.1'), 3, save_safetensors, name
  )
  leaves = safetensors.numpy.load_file(paths[1])
  lost = sorted(leaves)[0]
  safetensors.numpy.save_file(
    {x: leaf for x, leaf in leaves.items() if x != lost}, paths[1]
  )
  with pytest.raises(UserError, match=f'{paths[1].name} lacks {lost}'):
    bases.read(str(tmp_path))
  paths[1].unlink()
  with pytest.raises(UserError, match=f'{paths[1].name} is missing'):
    bases.read(str(tmp_path))
  index = tmp_path / f'{name}.index.json'
  for broken in ('[]', '{"weight_map": 3}', '{"weight', '{"weight_map": [1]}'):
    index.write_text(broken)
    with pytest.raises(UserError, match='index.json is not an index'):
      bases.read(str(tmp_path))
  index.write_text('{"weight_map": {"a": "../b"}}')
  with pytest.raises(UserError, match='do not lie beside it'):
    bases.read(str(tmp_path))


def test_a_folder_without_weights_names_what_is_read(tmp_path):
  made.write_config(tmp_path)
  (tmp_path / 'tf_model.h5').write_bytes(b'')
  with pytest.raises(UserError, match='no weights.*pytorch_model.bin'):
    bases.read(str(tmp_path))


def test_torchs_files_need_torch(tmp_path, monkeypatch):
  made.write_config(tmp_path)
  (tmp_path / 'pytorch_model.bin').write_bytes(b'')
  monkeypatch.setitem(__import__('sys').modules, 'torch', None)
  message = r"pytorch_model.bin is torch's.*pip install 'moe_lite\[hf\]'"
  with pytest.raises(UserError, match=message):
    bases.read(str(tmp_path))
