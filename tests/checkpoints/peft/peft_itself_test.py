"""IA3 and LoRA against PEFT's on Hugging Face's T5, by way of its folders."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import exported
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.peft import folder as peft_folders
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import Transformer
from moe_lite.t5.description import describe_run, from_json
from tests.checkpoints.peft.drawing import draw
from tests.t5 import hugging_face_networks as networks
from tests.t5.hugging_face_networks import torch

peft = pytest.importorskip('peft', reason='needs the extra `hf`: peft')

pytestmark = pytest.mark.hf

lora = functools.partial(adapters.LoRA, rank=3, alpha=5.0)


def our_adapters(kind, version):
  """At every site that PEFT has, one way or another."""
  gated = len(networks.VERSIONS[version][1]) > 1
  factors = ('wi_0', 'wi_1') if gated else ('wi',)
  attention = ('query', 'key', 'value', 'out')
  if kind == 'LoRA':
    return {
      **dict.fromkeys((*attention, *factors, 'wo'), lora),
      'out': functools.partial(adapters.LoRA, rank=2, alpha=5.0),
      'wo': functools.partial(adapters.LoRA, rank=3, alpha=1.0),
    }
  last = 'intermediate' if kind == 'IA3' else 'wo'
  return dict.fromkeys((*attention, *factors, last), adapters.IA3)


def small(trained):
  """Away from the identity, and no further than training goes."""
  center = lambda path: 1 if path.endswith('scale') else 0
  return {
    path: center(path) + np.float32(0.2) * (leaf - 1)
    for path, leaf in trained.items()
  }


def set_up(folder, kind, version):
  """Their base, and exported adapters of ours on it; logits of ours."""
  theirs = networks.their_network(version)
  theirs.save_pretrained(folder / 'base')
  config = networks.our_config(version, adapters=our_adapters(kind, version))
  trained = small(draw(config))
  return theirs, config, trained


def our_model(folder, config, trained):
  """A model on the base in a folder, with adapters that were trained."""
  bare = dataclasses.replace(config, adapters={})
  _, frozen = networks.load_ours(folder, bare)
  model = EncoderDecoderModel(Transformer(config))
  leaves = {path: jnp.asarray(leaf) for path, leaf in trained.items()}
  return model, parameters.merge(parameters.unflatten(leaves), frozen)


def move(theirs):
  """Draws their adapters away from the identity."""
  torch.manual_seed(1)
  for name, weight in theirs.named_parameters():
    if 'ia3_' in name:
      weight.data = 1 + 0.2 * torch.randn_like(weight)
    if 'lora_' in name:
      weight.data = 0.2 * torch.randn_like(weight)
  return theirs.eval()


def assert_alike(ours, theirs, without=None):
  """Logits, and what adapters change in them."""
  logits = networks.their_logits(theirs)
  networks.assert_close(networks.our_logits(*ours), logits)
  if without is not None:
    assert np.abs(logits - without).max() > 1e-2


@pytest.mark.parametrize('kind', ['IA3', 'IA3 at wo', 'LoRA'])
@pytest.mark.parametrize('version', networks.VERSIONS)
def test_peft_loads_what_is_exported(tmp_path, version, kind):
  theirs, config, trained = set_up(tmp_path, kind, version)
  without = networks.their_logits(theirs)
  folder = str(tmp_path / 'peft')
  peft_folders.write(folder, trained, config, str(tmp_path / 'base'))
  loaded = peft.PeftModel.from_pretrained(theirs, folder).eval()
  ours = our_model(tmp_path / 'base', config, trained)
  assert_alike(ours, loaded, without)
  # Every leaf is read, and what PEFT saves is what it was given.
  loaded.save_pretrained(tmp_path / 'again')
  again, _ = peft_folders.read(str(tmp_path / 'again'), config)
  assert again.keys() == trained.keys()
  for path, leaf in again.items():
    np.testing.assert_array_equal(leaf, trained[path], err_msg=path)


@pytest.mark.parametrize('kind', ['IA3', 'LoRA'])
def test_greedy_decoding_is_theirs_token_by_token(tmp_path, kind):
  theirs, config, trained = set_up(tmp_path, kind, '1.1')
  folder = str(tmp_path / 'peft')
  peft_folders.write(folder, trained, config)
  loaded = peft.PeftModel.from_pretrained(theirs, folder).eval()
  model, params = our_model(tmp_path / 'base', config, trained)
  networks.assert_greedy_tokens_equal(loaded, model, params, 16)


def test_exported_adapters_are_not_taken_for_its_own(tmp_path):
  """The files have PEFT's names, and PEFT has adapters of this kind, too."""
  theirs, config, trained = set_up(tmp_path, 'IA3', '1.1')
  method = describe_run(config, parameters.TRAINABLE_ADAPTERS)
  folder = str(tmp_path / 'exported')
  description = Description(method, BaseInfo('base', 'abc'))
  exported.save(folder, parameters.unflatten(trained), description, {})
  with pytest.raises((KeyError, TypeError), match='peft_type'):
    peft.PeftConfig.from_pretrained(folder)
  with pytest.raises((KeyError, TypeError), match='peft_type'):
    peft.PeftModel.from_pretrained(theirs, folder)
  with pytest.raises((KeyError, TypeError), match='peft_type'):
    theirs.load_adapter(folder)


# Configurations as people write them.
SAVED = {
  'IA3 by default': ('1.0', lambda: peft.IA3Config()),
  'IA3, fan_in_fan_out': (
    '1.1',
    lambda: peft.IA3Config(
      target_modules=['k', 'wi_1'],
      feedforward_modules=[],
      fan_in_fan_out=True,
    ),
  ),
  'LoRA by default': ('1.1', lambda: peft.LoraConfig()),
  'LoRA everywhere': (
    '1.0',
    lambda: peft.LoraConfig(target_modules='all-linear', r=2, lora_alpha=7),
  ),
  'LoRA stabilised, of several ranks': (
    '1.1',
    lambda: peft.LoraConfig(
      target_modules=['q', 'wi_0', 'wo'],
      use_rslora=True,
      rank_pattern={'wo': 3},
      alpha_pattern={'q': 2},
      lora_dropout=0.1,
      init_lora_weights='gaussian',
    ),
  ),
  'LoRA in some places': (
    '1.1',
    lambda: peft.LoraConfig(
      target_modules=r'.*decoder.*(SelfAttention|EncDecAttention).*(q|v)$',
      exclude_modules=['decoder.block.1.layer.0.SelfAttention.q'],
    ),
  ),
  'LoRA in some layers': (
    '1.1',
    lambda: peft.LoraConfig(target_modules=['q'], layers_to_transform=[1]),
  ),
}


@pytest.mark.parametrize('name', SAVED)
def test_what_peft_saved_is_imported(tmp_path, name):
  version, describe = SAVED[name]
  theirs = networks.their_network(version)
  theirs.save_pretrained(tmp_path / 'base')
  without = networks.their_logits(theirs)
  config = describe()
  config.task_type = 'SEQ_2_SEQ_LM'
  tuned = move(peft.get_peft_model(theirs, config))
  tuned.save_pretrained(tmp_path / 'peft')
  argv = [
    'x',
    'import_peft',
    str(tmp_path / 'peft'),
    f'--to={tmp_path / "ours"}',
    f'--base={tmp_path / "base"}',
  ]
  assert cli.guard(command.convert, argv, None) == 0
  tree, description = exported.load(str(tmp_path / 'ours'))
  network = from_json(description.method.network)
  trained = parameters.flatten(tree)
  ours = our_model(tmp_path / 'base', network, trained)
  assert_alike(ours, tuned, without)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_types_are_kept(tmp_path, dtype):
  theirs = networks.their_network('1.1')
  config = peft.LoraConfig(task_type='SEQ_2_SEQ_LM')
  tuned = move(peft.get_peft_model(theirs, config))
  tuned.to(getattr(torch, dtype)).save_pretrained(tmp_path)
  trained, standing = peft_folders.read(
    str(tmp_path), networks.our_config('1.1')
  )
  for path, leaf in trained.items():
    assert leaf.dtype.name == dtype, path
  network = networks.our_config('1.1', adapters=standing)
  again = tmp_path / 'again'
  peft_folders.write(str(again), trained, network)
  theirs = networks.their_network('1.1')
  loaded = peft.PeftModel.from_pretrained(
    theirs, again, autocast_adapter_dtype=False
  )
  state = peft.get_peft_model_state_dict(loaded)
  for name, weight in peft.get_peft_model_state_dict(tuned).items():
    assert torch.equal(state[name].to(weight.dtype), weight), name


@pytest.mark.parametrize(
  'config, says',
  [
    (lambda: peft.LoraConfig(use_dora=True), 'use_dora True'),
    (lambda: peft.LoraConfig(lora_bias=True), 'lora_bias True'),
    (lambda: peft.LoraConfig(modules_to_save=['lm_head']), 'modules_to_save'),
    (lambda: peft.LoraConfig(init_lora_weights='olora'), 'init_lora_weights'),
    (lambda: peft.LoraConfig(target_modules=['q', 'shared']), 'beyond'),
    (lambda: peft.PrefixTuningConfig(num_virtual_tokens=2), 'PREFIX_TUNING'),
    (lambda: peft.LoHaConfig(target_modules=['q']), 'LOHA'),
    (
      lambda: peft.IA3Config(
        target_modules=['q', 'wo'], feedforward_modules=['q', 'wo']
      ),
      'scales what the module reads',
    ),
  ],
)
def test_what_ours_cannot_express_is_refused(tmp_path, config, says):
  theirs = networks.their_network('1.1')
  config = config()
  config.task_type = 'SEQ_2_SEQ_LM'
  peft.get_peft_model(theirs, config).save_pretrained(tmp_path)
  with pytest.raises(UserError, match=says):
    peft_folders.read(str(tmp_path), networks.our_config('1.1'))
