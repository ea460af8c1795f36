"""Hugging Face's folders as bases, and bases as such folders; no torch here."""

import json

import flax.serialization
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.checkpoints.hugging_face import model as hugging_face
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import T5Config, Transformer
from tests import tiny
from tests.checkpoints.hugging_face import written_files as made

DTYPES = ('float32', 'float16', 'bfloat16')


def network(version='1.1', **changes):
  tied = version == '1.0'
  return T5Config(
    **{
      'vocab_size': 48,
      'emb_dim': 8,
      'num_heads': 2,
      'head_dim': 3,
      'mlp_dim': 16,
      'num_encoder_layers': 2,
      'num_decoder_layers': 1,
      'relative_attention_num_buckets': 6,
      'mlp_activations': ('relu',) if tied else ('gelu', 'linear'),
      'logits_via_embedding': tied,
      **changes,
    }
  )


def wanted(config):
  model = EncoderDecoderModel(Transformer(config))
  return model.abstract_variables()['params']


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, leaf in expected.items():
    assert found[name].dtype == leaf.dtype, name
    np.testing.assert_array_equal(found[name], leaf, err_msg=name)


@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize('version', made.VERSIONS)
def test_it_is_a_base(tmp_path, version, scan_layers):
  state = made.state(version)
  path = str(made.write(tmp_path, state, version))
  config = network(version, scan_layers=scan_layers)
  assert configs.network(path) == network(version)
  params, info = bases.load_base(path, wanted(config), config)
  assert info.source == path
  leaves = parameters.flatten(parameters.unstack_layers(params))
  of = lambda name: state[f'decoder.block.0.layer.{name}.weight']
  layer = 'decoder/layers_0'
  for found, theirs in {
    'token_embedder/embedding': state['shared.weight'],
    f'{layer}/encoder_decoder_attention/out/kernel': of(
      '1.EncDecAttention.o'
    ).T,
    f'{layer}/pre_cross_attention_layer_norm/scale': of('1.layer_norm'),
    f'{layer}/mlp/wo/kernel': of('2.DenseReluDense.wo').T,
    'decoder/relpos_bias/rel_embedding': of(
      '0.SelfAttention.relative_attention_bias'
    ).T,
  }.items():
    np.testing.assert_array_equal(leaves[found], theirs)
  if version != '1.0':
    head = leaves['decoder/logits_dense/kernel']
    np.testing.assert_array_equal(head, state['lm_head.weight'].T)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('version', made.VERSIONS)
def test_there_and_back_changes_no_bit(tmp_path, version, dtype):
  state = made.state(version, dtype)
  path = made.write(tmp_path / 'theirs', state, version)
  argv = ['x', 'export_hf', str(path), f'--to={tmp_path}/ours']
  assert cli.guard(command.convert, argv, None) == 0
  ours = tmp_path / 'ours'
  assert_same(safetensors.numpy.load_file(ours / 'model.safetensors'), state)
  with safetensors.safe_open(ours / 'model.safetensors', 'numpy') as file:
    assert file.metadata() == {'format': 'pt'}
  assert configs.network(ours) == configs.network(path)
  assert json.loads((ours / 'config.json').read_text())['torch_dtype'] == dtype
  assert_same(hugging_face.read(ours), hugging_face.read(path))


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


def test_copies_of_the_embedding_are_one_leaf(tmp_path):
  state = made.state('1.0')
  embedding = state.pop('shared.weight')
  copies = dict.fromkeys(
    ('encoder.embed_tokens.weight', 'lm_head.weight'), embedding
  )
  # What was published with T5 1.0, and is never used.
  unused = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias'
  copies[f'{unused}.weight'] = np.ones((6, 2), np.float32)
  folder = made.write(tmp_path / 'a', {**state, **copies}, '1.0')
  whole = {'shared.weight': embedding, **state}
  expected = hugging_face.read(made.write(tmp_path / 'b', whole, '1.0'))
  assert_same(hugging_face.read(folder), expected)
  for name in ('lm_head.weight', 'decoder.embed_tokens.weight'):
    differing = {**whole, name: -embedding}
    made.write(folder, differing, '1.0')
    message = f'{name} of .*model.safetensors differs from shared.weight'
    with pytest.raises(UserError, match=message):
      hugging_face.read(folder)


def test_a_head_that_is_tied_and_not_scaled_is_a_copy(tmp_path):
  state = made.state('1.1 anew')
  del state['lm_head.weight']
  leaves = hugging_face.read(made.write(tmp_path, state, '1.1 anew'))
  head = leaves['decoder/logits_dense/kernel']
  np.testing.assert_array_equal(head, state['shared.weight'].T)
  made.write(tmp_path, state, '1.1')
  with pytest.raises(UserError, match='model.safetensors lacks lm_head.weight'):
    hugging_face.read(tmp_path)


NORM = 'encoder.block.1.layer.0.layer_norm.weight'


@pytest.mark.parametrize(
  'change, message',
  [
    ({NORM: None}, f'model.safetensors lacks {NORM}, which'),
    ({'shared.weight': None}, 'model.safetensors lacks shared.weight'),
    (
      {'encoder.block.7.x.weight': np.ones(2, 'float32')},
      r'model.safetensors has, beyond .* encoder.block.7.x.weight\.',
    ),
    (
      {NORM: np.ones(9, 'float32')},
      rf'{NORM} of .*model.safetensors is \(9,\); .* be \(8,\)',
    ),
    (
      {NORM: np.ones(8, 'float64')},
      f'{NORM} of .*model.safetensors is of the type float64',
    ),
  ],
)
def test_leaves_that_do_not_fit_are_named(tmp_path, change, message):
  state = {**made.state('1.1'), **change}
  state = {name: leaf for name, leaf in state.items() if leaf is not None}
  made.write(tmp_path, state)
  with pytest.raises(UserError, match=message):
    bases.read(str(tmp_path))


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


@pytest.mark.parametrize(
  'change, message',
  [
    ({'model_type': 'bart'}, "config.json has model_type 'bart'; only T5"),
    ({'model_type': None}, 'config.json has model_type None'),
    ({'d_ff': None}, 'config.json has d_ff None; a whole number'),
    ({'feed_forward_proj': 'gated-x'}, "feed_forward_proj 'gated-x'; the net"),
    ({'feed_forward_proj': 'gelu'}, "feed_forward_proj 'gelu'; the network"),
    ({'layer_norm_epsilon': 1e-5}, 'layer_norm_epsilon 1e-05; the network'),
  ],
)
def test_what_is_no_network_of_ours_is_refused(tmp_path, change, message):
  made.write(tmp_path, made.state('1.1'), **change)
  with pytest.raises(UserError, match=message):
    bases.read(str(tmp_path))


def test_a_file_without_its_config_is_no_base(tmp_path):
  path = made.write(tmp_path, made.state('1.1')) / 'model.safetensors'
  with pytest.raises(UserError, match='give its folder, with config.json'):
    bases.read(str(path))
  (tmp_path / 'config.json').unlink()
  with pytest.raises(UserError, match='give its folder, with config.json'):
    bases.read(str(tmp_path))


def test_a_broken_config_is_named(tmp_path):
  made.write(tmp_path, made.state('1.1'))
  for text in ('{"model', '[]'):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(UserError, match='config.json'):
      bases.read(str(tmp_path))


@pytest.mark.parametrize(
  'change, message',
  [
    (
      {'emb_dim': 6},
      'd_model 8 in config.json, emb_dim 6 in the models/ gin file',
    ),
    # What no leaf's shape tells.
    ({'num_heads': 3, 'head_dim': 2}, 'num_heads 2 .* d_kv 3 in config.json'),
    (
      {'relative_attention_max_distance': 64},
      'relative_attention_max_distance 128 in config.json',
    ),
    (
      {'mlp_activations': ('silu', 'linear')},
      r"feed_forward_proj gated-gelu in config.json, mlp_activations \('silu",
    ),
    (
      {'logits_via_embedding': True},
      'tie_word_embeddings False in config.json, logits_via_embedding True',
    ),
  ],
)
def test_another_network_is_refused_by_both_names(tmp_path, change, message):
  made.write(tmp_path, made.state('1.1'))
  config = network(**change)
  with pytest.raises(UserError, match=message):
    bases.load_base(str(tmp_path), wanted(config), config)


def exported(source, folder, *flags):
  argv = ['x', 'export_hf', str(source), f'--to={folder}', *flags]
  return cli.guard(command.convert, argv, None)


def test_a_base_is_exported_once(tmp_path, capsys):
  source = tiny.save_base(tmp_path / 'base')
  out = tmp_path / 'out'
  assert exported(source, out, '--step=3') == 2
  assert '--step is of a run' in capsys.readouterr().err
  assert exported(source, out) == 0
  assert configs.network(out) == tiny.model({}).module.config
  assert_same(hugging_face.read(out), parameters.flatten(tiny.base_params()))
  assert exported(source, out) == 2
  assert 'exists already' in capsys.readouterr().err
  assert exported(source, tmp_path / 'low', '--dtype=bfloat16') == 0
  low = hugging_face.read(tmp_path / 'low').values()
  assert all(leaf.dtype == ml_dtypes.bfloat16 for leaf in low)


def test_a_run_is_exported_if_it_trained_everything(tmp_path, capsys):
  for name, params in {
    'full': tiny.base_params(),
    'adapters': {'layers_0': {'key_adapter': {'scale': np.ones(3)}}},
  }.items():
    checkpoints = Checkpoints(str(tmp_path / name))
    checkpoints.save(1, params, {'step': np.int32(1)}, {}, tiny.DESCRIPTION)
    checkpoints.close()
  assert exported(tmp_path / 'full', tmp_path / 'out') == 0
  expected = parameters.flatten(tiny.base_params())
  assert_same(hugging_face.read(tmp_path / 'out'), expected)
  assert exported(tmp_path / 'adapters', tmp_path / 'no') == 2
  assert 'adapters only' in capsys.readouterr().err
  assert not (tmp_path / 'no').exists()


@pytest.mark.parametrize(
  'config, change, message',
  [
    (network(mlp_activations=('silu', 'gelu')), {}, 'feed-forward layer'),
    (network(num_decoder_layers=2), {}, 'decoder/layers_1/.* and 10 more'),
    (network(), {'x': np.ones(1, 'float32')}, 'leaves of the network: x'),
    (network(), {'encoder/encoder_norm/scale': np.ones(8)}, 'float64'),
  ],
)
def test_what_is_no_model_of_theirs_is_not_written(
  tmp_path, config, change, message
):
  folder = made.write(tmp_path / 'made', made.state('1.1'))
  leaves = {**hugging_face.read(folder), **change}
  with pytest.raises(UserError, match=message):
    hugging_face.write(str(tmp_path / 'out'), leaves, config)
  assert not (tmp_path / 'out').exists()


def test_leaves_of_something_else_have_no_network():
  with pytest.raises(UserError, match='not the leaves of a T5'):
    configs.infer({'a': np.ones(3)})
