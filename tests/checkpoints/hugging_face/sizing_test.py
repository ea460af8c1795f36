"""models/hugging_face.gin is the models/ file that fits a folder."""

import copy
import dataclasses
import json

import gin
import pytest

from moe_lite.checkpoints.hugging_face import sizing
from moe_lite.convert import command
from moe_lite.core.errors import UserError
from moe_lite.process import cli, gin_paths
from tests.checkpoints.hugging_face import written_files as made

# Of the public google/flan-t5-base, and google/mt5-small.
FLAN = {
  'architectures': ['T5ForConditionalGeneration'],
  'model_type': 't5',
  'd_ff': 2048,
  'd_kv': 64,
  'd_model': 768,
  'feed_forward_proj': 'gated-gelu',
  'num_decoder_layers': 12,
  'num_heads': 12,
  'num_layers': 12,
  'relative_attention_max_distance': 128,
  'relative_attention_num_buckets': 32,
  'tie_word_embeddings': False,
  'use_cache': True,
  'vocab_size': 32128,
}
MT5 = {
  'model_type': 'mt5',
  'd_ff': 1024,
  'd_kv': 64,
  'd_model': 512,
  'feed_forward_proj': 'gated-gelu',
  'num_decoder_layers': 8,
  'num_heads': 6,
  'num_layers': 8,
  'tie_word_embeddings': False,
  'vocab_size': 250112,
}


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


def network(model, base, *files, **bindings):
  """The network of a models/ file, with the adapters of MoV."""
  gin.clear_config()
  folder = gin_paths.folder()
  bindings = {'INITIAL_CHECKPOINT_PATH': str(base), **bindings}
  gin.parse_config_files_and_bindings(
    [str(folder / f'{x}.gin') for x in (f'models/{model}', *files)],
    [f'{name} = {value!r}' for name, value in bindings.items()],
  )
  # A copy builds what the macro refers to.
  return copy.deepcopy(gin.config.parse_value('%NETWORK'))


def facts(module):
  """What a network is, but for its adapters, which gin makes anew."""
  config = module.config
  found = dataclasses.asdict(dataclasses.replace(config, adapters={}))
  return {**found, 'adapters': sorted(config.adapters)}


def write(folder, config):
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def test_an_exported_base_has_the_network_of_its_models_file(tmp_path):
  folder = tmp_path / 'mini'
  argv = ['x', 'export_hf', 'mini', f'--to={folder}']
  assert cli.guard(command.convert, argv, None) == 0
  small = {'SCAN_LAYERS': False, 'REMAT': 'none', 'ACTIVATION_DTYPE': 'float32'}
  assert facts(
    network('hugging_face', folder, 'methods/mov', **small)
  ) == facts(network('t5_1_1_mini', 'mini', 'methods/mov'))


def test_flan_has_the_network_of_t5_1_1(tmp_path):
  found = network('hugging_face', write(tmp_path, FLAN), 'methods/mov')
  assert facts(found) == facts(network('t5_1_1_base', 'x', 'methods/mov'))


def test_mt5_is_read(tmp_path):
  config = network('hugging_face', write(tmp_path, MT5), 'methods/ia3').config
  assert (config.vocab_size, config.num_heads, config.head_dim) == (
    *(250112, 6, 64),
  )
  assert not config.logits_via_embedding and 'wi_1' in config.sites


@pytest.mark.parametrize('version', made.VERSIONS)
def test_every_version_of_t5_is_read(tmp_path, version):
  folder = write(tmp_path, {**made.CONFIG, **made.VERSIONS[version]})
  config = network('hugging_face', folder, 'methods/full').config
  wanted = made.network(version)
  for name in ('mlp_activations', 'logits_via_embedding', 'emb_dim', 'mlp_dim'):
    assert getattr(config, name) == getattr(wanted, name)


def test_a_router_file_may_add_to_the_network(tmp_path):
  files = ('methods/mov', 'routers/shared')
  config = network('hugging_face', write(tmp_path, FLAN), *files).config
  assert set(config.decisions) == {'layer'}


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'feed_forward_proj': 'gated-swish'}, 'feed_forward_proj'),
    ({'model_type': 'umt5'}, "has model_type 'umt5'; only T5 and mT5"),
    ({'layer_norm_epsilon': 1e-5}, 'layer_norm_epsilon'),
    ({'d_model': None}, 'd_model'),
  ],
)
def test_other_networks_are_refused(tmp_path, changes, message):
  folder = write(tmp_path, {**FLAN, **changes})
  with pytest.raises(UserError, match=message):
    network('hugging_face', folder, 'methods/mov')


def test_what_has_no_sizes_is_named(tmp_path):
  with pytest.raises(UserError, match='has no config.json, from which models/'):
    network('hugging_face', tmp_path, 'methods/mov')
  with pytest.raises(UserError, match='INITIAL_CHECKPOINT_PATH = None'):
    sizing.network_of(None)
