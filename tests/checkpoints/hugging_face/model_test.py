"""Hugging Face's folders as bases, and bases as such folders; no torch here."""

import json

import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.checkpoints.hugging_face import model as hugging_face
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import Transformer
from tests.checkpoints.hugging_face import written_files as made

DTYPES = ('float32', 'float16', 'bfloat16')


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
  config = made.network(version, scan_layers=scan_layers)
  assert configs.network(path) == made.network(version)
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


def test_a_file_without_its_config_is_no_base(tmp_path):
  path = made.write(tmp_path, made.state('1.1')) / 'model.safetensors'
  with pytest.raises(UserError, match='give its folder, with config.json'):
    bases.read(str(path))
  (tmp_path / 'config.json').unlink()
  with pytest.raises(UserError, match='give its folder, with config.json'):
    bases.read(str(tmp_path))


@pytest.mark.parametrize(
  'config, change, message',
  [
    (made.network(mlp_activations=('silu', 'gelu')), {}, 'feed-forward layer'),
    (made.network(num_decoder_layers=2), {}, 'decoder/layers_1/.* and 10 more'),
    (made.network(), {'x': np.ones(1, 'float32')}, 'leaves of the network: x'),
    (made.network(), {'encoder/encoder_norm/scale': np.ones(8)}, 'float64'),
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
