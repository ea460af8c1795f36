"""PEFT's folders in and out, on NumPy alone."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import safetensors.numpy

from moe_lite import adapters
from moe_lite.checkpoints import exported
from moe_lite.checkpoints.peft.config import FILE, is_peft
from moe_lite.checkpoints.peft.folder import read, write
from moe_lite.checkpoints.peft.summary import WEIGHTS
from moe_lite.core.errors import UserError
from moe_lite.t5.description import to_json
from tests.checkpoints.peft.drawing import draw, network

lora = functools.partial(adapters.LoRA, rank=2, alpha=3.0)
# What stands at which site, and whether the hidden layer is gated.
METHODS = {
  'IA3': (dict.fromkeys(('key', 'value', 'intermediate'), adapters.IA3), True),
  'IA3 at outputs': (
    dict.fromkeys(('query', 'out', 'wi', 'wo'), adapters.IA3),
    False,
  ),
  'LoRA': (dict.fromkeys(('query', 'value', 'wi_0', 'wi_1', 'wo'), lora), True),
  'LoRA of several ranks': (
    {
      'query': lora,
      'out': functools.partial(adapters.LoRA, rank=5, alpha=3.0),
      'wi': functools.partial(adapters.LoRA, rank=2, alpha=0.5),
    },
    False,
  ),
}


@functools.cache
def drawn(name):
  config = network(*METHODS[name])
  return config, draw(config)


def assert_equal(one, other):
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    assert leaf.dtype == other[path].dtype
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', METHODS)
def test_leaves_come_back_bit_for_bit(tmp_path, name, dtype):
  config = network(*METHODS[name])
  trained = draw(config, dtype)
  folder = str(tmp_path / 'theirs')
  write(folder, trained, config, 'org/base')
  assert is_peft(folder) and not exported.is_exported(folder)
  bare = dataclasses.replace(config, adapters={})
  again, standing = read(folder, bare)
  assert_equal(again, trained)
  built = dataclasses.replace(bare, adapters=standing)
  assert to_json(built) == to_json(config)
  with pytest.raises(UserError, match='exists already'):
    write(folder, trained, config)
  write(folder, trained, config, overwrite=True)


def test_names_and_layout_are_theirs(tmp_path):
  config = network(METHODS['IA3'][0])
  write(str(tmp_path / 'ia3'), draw(config), config, 'org/base', 'v2')
  described, leaves = look(tmp_path / 'ia3')
  assert described['peft_type'] == 'IA3'
  assert described['task_type'] == 'SEQ_2_SEQ_LM'
  assert described['base_model_name_or_path'] == 'org/base'
  assert described['revision'] == 'v2'
  assert described['target_modules'] == ['k', 'v', 'wo']
  assert described['feedforward_modules'] == ['wo']
  prefix = 'base_model.model'
  key = f'{prefix}.decoder.block.0.layer.1.EncDecAttention.k.ia3_l'
  feed_forward = f'{prefix}.encoder.block.1.layer.1.DenseReluDense.wo.ia3_l'
  assert leaves[key].shape == (8, 1) and leaves[feed_forward].shape == (1, 16)

  config = network(*METHODS['LoRA of several ranks'])
  write(str(tmp_path / 'lora'), draw(config), config)
  described, leaves = look(tmp_path / 'lora')
  assert (described['r'], described['lora_alpha']) == (2, 3.0)
  assert described['rank_pattern'] == {'o': 5}
  assert described['alpha_pattern'] == {'wi': 0.5}
  out = f'{prefix}.encoder.block.0.layer.0.SelfAttention.o'
  assert leaves[f'{out}.lora_A.weight'].shape == (5, 8)
  assert leaves[f'{out}.lora_B.weight'].shape == (8, 5)


@pytest.mark.parametrize(
  'standing, says',
  [
    ({'key': adapters.MoV}, 'no routed mixtures.*convert collapse RUN'),
    ({'key': adapters.MoLoRA}, 'no routed mixtures'),
    ({'key': adapters.IA3, 'query': lora}, 'IA3 at key, LoRA at query'),
    ({}, 'adapters here are none'),
    ({'intermediate': lora}, 'no LoRA at intermediate'),
    (dict.fromkeys(('intermediate', 'wo'), adapters.IA3), 'Here wo has two'),
  ],
)
def test_what_they_cannot_express_is_refused(tmp_path, standing, says):
  config = network(standing)
  with pytest.raises(UserError, match=says):
    write(str(tmp_path / 'x'), {}, config)
  assert not list(tmp_path.iterdir())


def test_leaves_that_are_no_adapters_are_refused(tmp_path):
  config = network({'key': adapters.IA3})
  trained = draw(config)
  more = {**trained, 'encoder/encoder_norm/scale': np.ones(8, np.float32)}
  with pytest.raises(UserError, match='encoder_norm.*export_hf'):
    write(str(tmp_path / 'x'), more, config)
  trained.popitem()
  with pytest.raises(UserError, match='key_adapter/scale is missing'):
    write(str(tmp_path / 'x'), trained, config)


def look(folder):
  described = json.loads((folder / FILE).read_text())
  return described, safetensors.numpy.load_file(folder / WEIGHTS)


@pytest.fixture(params=['IA3', 'LoRA'])
def saved(request, tmp_path):
  config, trained = drawn(request.param)
  write(str(tmp_path / 'theirs'), trained, config)
  return tmp_path / 'theirs', config, trained


def change(folder, options=(), without='nothing', more=()):
  described, leaves = look(folder)
  described |= dict(options)
  leaves = {x: leaf for x, leaf in leaves.items() if without not in x}
  (folder / FILE).write_text(json.dumps(described))
  safetensors.numpy.save_file({**leaves, **dict(more)}, folder / WEIGHTS)


@pytest.mark.parametrize(
  'options, says',
  [
    ({'peft_type': 'LOHA'}, "peft_type 'LOHA'; only IA3 and LORA"),
    ({'use_dora': True}, 'use_dora True, which changes'),
    ({'bias': 'all'}, "bias 'all'"),
    ({'lora_bias': True}, 'lora_bias True'),
    ({'modules_to_save': ['lm_head']}, r"modules_to_save \['lm_head'\]"),
    ({'init_lora_weights': 'pissa'}, "init_lora_weights 'pissa'"),
    ({'layer_replication': [[0, 1]]}, 'layer_replication'),
    ({'what_comes_next': 3}, 'what_comes_next 3'),
    ({'target_modules': None}, 'no target_modules'),
    ({'target_modules': '('}, 'not a regular expression'),
    ({'target_modules': ['q', 'k', 'v', 'o', 'wi_0', 'wi_1', 'wo']}, 'lacks'),
    ({'target_modules': ['v']}, 'has, beyond what'),
    ({'exclude_modules': ['v']}, 'has, beyond what'),
  ],
)
def test_options_that_change_numbers_are_refused(saved, options, says):
  folder, config, _ = saved
  change(folder, options)
  with pytest.raises(UserError, match=says):
    read(str(folder), config)


def damage(folder, how):
  if how == 'cut short':
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-5])
    return 'is not a safetensors file'
  if how == 'no weights':
    (folder / WEIGHTS).unlink()
    return 'adapter_model.safetensors is missing'
  if how == "torch's weights":
    (folder / WEIGHTS).rename(folder / 'adapter_model.bin')
    return 'adapter_model.bin is not read'
  if how == 'half a configuration':
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text[: len(text) // 2])
    return 'adapter_config.json cannot be read'
  if how == 'no configuration':
    (folder / FILE).unlink()
    return 'adapter_config.json cannot be read'
  if how == 'of ours':
    (folder / FILE).write_text('{"format": "moe_lite"}')
    return "it is not PEFT's"
  if how == 'a layer is missing':
    change(folder, without='decoder.block.0.layer.0')
    return 'lacks base_model.model.decoder.block.0.layer.0'
  if how == 'a leaf more':
    change(folder, more={'base_model.model.lm_head.ia3_l': np.ones((2, 1))})
    return 'lm_head.ia3_l of .* is of the type float64'
  one = {'base_model.model.lm_head.ia3_l': np.ones((2, 1), np.float32)}
  if how == 'another model':
    change(folder, more=one)
    return 'has, beyond what .*lm_head.ia3_l'
  described, leaves = look(folder)
  first = next(iter(leaves))
  change(folder, more={first: np.ones((3, 7), np.float32)})
  return r'is \(3, 7\); by adapter_config.json'


@pytest.mark.parametrize(
  'how',
  [
    'cut short',
    'no weights',
    "torch's weights",
    'half a configuration',
    'no configuration',
    'of ours',
    'a layer is missing',
    'a leaf more',
    'another model',
    'another shape',
  ],
)
def test_what_is_no_whole_folder_is_refused(saved, how):
  folder, config, _ = saved
  with pytest.raises(UserError, match=damage(folder, how)):
    read(str(folder), config)


def test_layers_that_are_not_targeted_get_the_identity(saved):
  folder, config, trained = saved
  change(
    folder,
    {'target_modules': r'decoder\..*\.(q|k|v|wi_0|wi_1|wo)'},
    without='encoder.block',
  )
  described, _ = look(folder)
  if described['peft_type'] == 'IA3':
    change(folder, {'target_modules': r'decoder\..*\.(k|v|wo)'})
  else:
    change(folder, {'exclude_modules': ['k']})
  again, _ = read(str(folder), config)
  assert again.keys() == trained.keys()
  for path, leaf in again.items():
    identity = 1 if described['peft_type'] == 'IA3' else 0
    is_there = path.startswith('decoder')
    wanted = trained[path] if is_there else np.full_like(leaf, identity)
    np.testing.assert_array_equal(leaf, wanted)


def test_scales_of_lora_are_read_as_they_act(tmp_path):
  config = network(*METHODS['LoRA'])
  folder = tmp_path / 'theirs'
  write(str(folder), draw(config), config)

  def alphas(**options):
    change(folder, options)
    _, standing = read(str(folder), config)
    return {
      site: factory(site=config.sites[site], parent=None).alpha
      for site, factory in standing.items()
    }

  assert set(alphas(lora_alpha=5).values()) == {5.0}
  found = alphas(alpha_pattern={'SelfAttention.q|EncDecAttention.q': 7})
  assert found['query'] == 7 and found['value'] == 5
  found = alphas(use_rslora=True)
  np.testing.assert_allclose(found['value'] / 2, 5 / np.sqrt(2))
  with pytest.raises(UserError, match=r'rank and alpha .* at query'):
    alphas(alpha_pattern={'encoder.*q': 7})
