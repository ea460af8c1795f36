"""Exported adapters on Hugging Face's T5: what JAX computes, torch computes."""

import copy
import functools
import importlib.util
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from moe_lite import adapters, routing
from moe_lite.checkpoints import exported, torch_file
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.hugging_face.model import read
from moe_lite.core import parameters
from moe_lite.models import model
from moe_lite.t5 import Transformer
from moe_lite.t5.description import describe_run
from tests.t5 import hugging_face_networks as networks
from tests.t5.hugging_face_networks import torch

pytestmark = pytest.mark.hf

# No width equals another.
SIZES = {'emb_dim': 12, 'num_heads': 2, 'head_dim': 5, 'mlp_dim': 16}


def layers(encoder, decoder):
  return {'num_encoder_layers': encoder, 'num_decoder_layers': decoder}


def mixture(cls, router=routing.SoftRouter, **fields):
  return functools.partial(cls, num_experts=3, router=router, **fields)


def top_k(k, renormalize=True):
  return functools.partial(routing.TopKRouter, k=k, renormalize=renormalize)


lora = functools.partial(adapters.LoRA, rank=2, alpha=3.0)
mov = functools.partial(mixture, adapters.MoV)
molora = functools.partial(mixture, adapters.MoLoRA, rank=2, alpha=3.0)
METHODS = {
  'ia3': adapters.IA3,
  'lora': lora,
  'mov': mov(),
  'mov inputs': mov(router_reads='inputs'),
  'mov top 1': mov(top_k(1)),
  'mov top 2 as released': mov(top_k(2, renormalize=False)),
  'mov inputs top 1 as released': mov(
    top_k(1, renormalize=False), router_reads='inputs'
  ),
  'molora': molora(),
  'molora outputs': molora(router_reads='outputs'),
  'molora top 2': molora(top_k(2)),
  'molora top 1 as released': molora(top_k(1, renormalize=False)),
}
BASE = {'source': 'base', 'fingerprint': '0123456789abcdef'}
# One of each at every kind of site, others elsewhere.
MIXED = {
  'query': METHODS['molora outputs'],
  'key': METHODS['mov'],
  'value': METHODS['mov inputs'],
  'out': METHODS['lora'],
  'wi': METHODS['ia3'],
  'wi_0': METHODS['lora'],
  'wi_1': METHODS['mov top 1'],
  'intermediate': METHODS['molora'],
  'wo': METHODS['mov top 2 as released'],
}


class Case:
  """One export, the base it stands on, and our model."""

  def __init__(self, folder, version, adapters, **sizes):
    """Args: `adapters`, by site; those of other sites are left out."""
    sizes = {**SIZES, **layers(1, 1), **sizes}
    sites = networks.our_config(version).sites
    standing = {site: adapters[site] for site in sites if site in adapters}
    config = networks.our_config(version, **sizes, adapters=standing)
    self.base = networks.their_network(version, **sizes)
    self.base.save_pretrained(folder / 'base')
    self.model = model.EncoderDecoderModel(Transformer(config))
    trainable, _ = parameters.split(
      self.model.abstract_variables()['params'], parameters.TRAINABLE_ADAPTERS
    )
    self.leaves = draw(parameters.flatten(trainable))
    trained = parameters.unflatten(self.leaves)
    base = read(folder / 'base')
    merged = parameters.merge(trained, parameters.unflatten(base))
    self.params = jax.tree.map(jnp.asarray, merged)
    self.folder = folder / 'exported'
    description = Description(
      describe_run(config, parameters.TRAINABLE_ADAPTERS),
      BaseInfo(**BASE),
      step=1,
    )
    exported.save(str(self.folder), trained, description, {})
    # As a user imports it.
    spec = importlib.util.spec_from_file_location(
      'torch_adapters', self.folder / torch_file.TORCH
    )
    self.file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(self.file)


# Of leaves, away from the identity: mean, and a deviation with which single
# precision does not show.
DRAWN = {'scale': (1, 0.5), 'kernel': (0, 0.5), 'a': (0, 0.2), 'b': (0, 0.2)}


def draw(leaves):
  rng = np.random.default_rng(0)
  return {
    path: rng.normal(*DRAWN[path.rpartition('/')[2]], leaf.shape).astype('f4')
    for path, leaf in leaves.items()
  }


def generate(network, length=16, **how):
  inputs, _, _ = networks.tokens()
  generated = network.generate(
    input_ids=torch.tensor(inputs),
    attention_mask=torch.tensor(inputs > 0).long(),
    max_new_tokens=length,
    do_sample=False,
    **how,
  ).numpy()[:, 1:]
  return np.pad(generated, ((0, 0), (0, length - generated.shape[1])))


def state(network):
  return {name: x.clone() for name, x in network.state_dict().items()}


@pytest.fixture(scope='module')
def mixed(tmp_path_factory):
  """Of T5 1.1; tests leave its base as it was."""
  return Case(tmp_path_factory.mktemp('mixed'), '1.1', MIXED)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('version', networks.VERSIONS)
def test_logits_are_those_of_jax(tmp_path, version, method):
  sites = networks.our_config(version).sites
  case = Case(tmp_path, version, dict.fromkeys(sites, METHODS[method]))
  alone = networks.their_logits(case.base)
  with case.file.attach(case.base) as handle:
    theirs = networks.their_logits(case.base)
  # Three layers with attention, two with a hidden layer.
  assert len(handle.adapters) == 3 * 4 + 2 * (len(sites) - 4)
  assert np.abs(theirs - alone).max() > 0.1
  networks.assert_close(networks.our_logits(case.model, case.params), theirs)


@pytest.mark.parametrize('version', networks.VERSIONS)
def test_generation_is_that_of_jax_token_by_token(tmp_path, version):
  # With a cache, transformers takes the decoder to have the encoder's layers.
  case = Case(tmp_path, version, MIXED, **layers(2, 2))
  alone = generate(case.base)
  case.file.attach(case.base)
  networks.assert_close(
    networks.our_logits(case.model, case.params),
    networks.their_logits(case.base),
  )
  theirs = generate(case.base, use_cache=True)
  assert (theirs != alone).any() and len(np.unique(theirs)) > 5
  batch = {
    'encoder_input_tokens': networks.tokens()[0],
    'decoder_input_tokens': np.zeros_like(theirs),
  }
  ours = case.model.predict_batch(case.params, batch)
  np.testing.assert_array_equal(ours, theirs)


def test_beams_are_the_same_with_a_cache(mixed):
  beams = {'num_beams': 3, 'length': 8}
  alone = generate(mixed.base, **beams)
  with mixed.file.attach(mixed.base):
    cached = generate(mixed.base, use_cache=True, **beams)
    np.testing.assert_array_equal(
      cached, generate(mixed.base, use_cache=False, **beams)
    )
  assert (cached != alone).any()


def test_more_layers_on_one_side_find_their_places(tmp_path):
  case = Case(tmp_path, '1.1', MIXED, **layers(1, 2))
  with case.file.attach(case.base):
    networks.assert_close(
      networks.our_logits(case.model, case.params),
      networks.their_logits(case.base),
    )


def test_removed_they_leave_the_base_bit_for_bit(mixed):
  before, logits = state(mixed.base), networks.their_logits(mixed.base)
  handle = mixed.file.attach(mixed.base)
  assert handle.base == BASE
  assert (networks.their_logits(mixed.base) != logits).any()
  handle.remove()
  handle.remove()  # Nothing is left to do.
  after = state(mixed.base)
  assert after.keys() == before.keys()
  assert all(torch.equal(after[name], before[name]) for name in before)
  np.testing.assert_array_equal(networks.their_logits(mixed.base), logits)


def test_they_are_parameters_of_the_network(mixed):
  network = copy.deepcopy(mixed.base)
  handle = mixed.file.attach(network)
  name = 'decoder.block.0.layer.1.EncDecAttention.key_adapter.router.kernel'
  path = 'decoder/layers_0/encoder_decoder_attention/key_adapter/router/kernel'
  np.testing.assert_array_equal(state(network)[name], mixed.leaves[path])
  inputs, targets, _ = map(torch.tensor, networks.tokens())
  network(input_ids=inputs, labels=targets).loss.backward()
  for path, adapter in handle.adapters.items():
    for leaf, parameter in adapter.named_parameters():
      assert parameter.grad.abs().max() > 0, (path, leaf)
  # A copy has adapters of its own.
  copied = copy.deepcopy(network)
  for name, parameter in copied.named_parameters():
    if '_adapter' in name:
      parameter.data.zero_()
  with mixed.file.attach(mixed.base):
    wanted = networks.their_logits(mixed.base)
  np.testing.assert_array_equal(networks.their_logits(network), wanted)
  assert (networks.their_logits(copied) != wanted).any()


@pytest.mark.parametrize('when', ['before', 'after'])
def test_bfloat16_is_kept(mixed, when):
  with mixed.file.attach(mixed.base):
    wanted = networks.their_logits(mixed.base)
  network = copy.deepcopy(mixed.base)
  if when == 'before':
    network.to(torch.bfloat16)
  handle = mixed.file.attach(network)
  if when == 'after':
    network.to(torch.bfloat16)
  held = torch.float32 if when == 'before' else torch.bfloat16
  for adapter in handle.adapters.values():
    assert {x.dtype for x in adapter.parameters()} == {held}
  inputs, _, shifted = map(torch.tensor, networks.tokens())
  with torch.no_grad():
    logits = network(
      input_ids=inputs,
      attention_mask=(inputs > 0).long(),
      decoder_input_ids=shifted,
    ).logits
  assert logits.dtype == torch.bfloat16
  assert np.abs(logits.float().numpy() - wanted).mean() < 0.1
  assert generate(network, use_cache=True).any()


def change_config(folder, change):
  path = folder / exported.CONFIG
  config = json.loads(path.read_text())
  change(config)
  path.write_text(json.dumps(config))


def change_leaves(folder, change):
  path = folder / exported.WEIGHTS
  leaves = safetensors.numpy.load_file(path)
  change(leaves)
  safetensors.numpy.save_file(leaves, path)


KEY = 'encoder/layers_0/attention/key_adapter'
KERNEL = f'{KEY}/router/kernel'
ERRORS = {
  'another adapter': (
    lambda x: x['network']['adapters']['key'].update(type='theirs.MoV'),
    change_config,
    f"{KEY} cannot stand here: .*'theirs.MoV'.* is none of IA3, LoRA, MoV, Mo",
  ),
  'another router': (
    lambda x: x['network']['adapters']['key']['router'].update(type='Hash'),
    change_config,
    f"{KEY} cannot stand here: .*'Hash'.* is none of SoftRouter, TopKRouter",
  ),
  'a router without a description': (
    lambda x: x['network']['adapters']['key'].update(router='Hash'),
    change_config,
    f'{KEY} cannot stand here: Hash is none of SoftRouter, TopKRouter',
  ),
  'a field of another version': (
    lambda x: x['network']['adapters']['key'].update(bias=True),
    change_config,
    f"{KEY} cannot stand here: .*'bias': True.* is none of",
  ),
  'sizes': (
    lambda x: x['network'].update(emb_dim=13, mlp_activations=['relu']),
    change_config,
    r"emb_dim is 12 in the network and 13 in the folder; .*'linear'\] in the",
  ),
  'no sizes': (
    lambda x: x['network'].pop('num_heads'),
    change_config,
    'no such adapters.*lacks num_heads',
  ),
  'a network as a text': (
    lambda x: x.update(network='T5'),
    change_config,
    'holds no such adapters',
  ),
  'newer': (lambda x: x.update(version=2), change_config, 'version 2'),
  'of another format': (
    lambda x: x.pop('format'),
    change_config,
    'holds no such adapters',
  ),
  'missing': (
    lambda x: x.pop(KERNEL),
    change_leaves,
    rf'{KERNEL} is absent in the file, but \[5, 3\] here',
  ),
  'extra': (
    lambda x: x.update(more=x[KERNEL]),
    change_leaves,
    r'more is \[5, 3\] in the file, but absent here',
  ),
  'shape': (
    lambda x: x.update({KERNEL: x[KERNEL].T.copy()}),
    change_leaves,
    rf'{KERNEL} is \[3, 5\] in the file, but \[5, 3\] here',
  ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_what_does_not_fit_is_refused_whole(mixed, tmp_path, name):
  change, where, says = ERRORS[name]
  folder = tmp_path / 'changed'
  shutil.copytree(mixed.folder, folder)
  where(folder, change)
  with pytest.raises(ValueError, match=says):
    mixed.file.attach(mixed.base, folder)
  assert not any('_adapter' in name for name in state(mixed.base))


def test_folders_and_networks_that_do_not_fit_are_refused(mixed, tmp_path):
  attach = mixed.file.attach
  with pytest.raises(ValueError, match='holds no such adapters'):
    attach(mixed.base, tmp_path)
  shutil.copytree(mixed.folder, tmp_path / 'cut')
  weights = tmp_path / 'cut' / exported.WEIGHTS
  weights.write_bytes(weights.read_bytes()[:-4])
  with pytest.raises(ValueError, match='holds no such adapters'):
    attach(mixed.base, tmp_path / 'cut')
  with attach(mixed.base, mixed.folder):
    with pytest.raises(ValueError, match='stands there already'):
      attach(mixed.base)
  encoder = networks.transformers.T5EncoderModel(mixed.base.config)
  with pytest.raises(ValueError, match='decoder/.* cannot stand here'):
    attach(encoder)
  config = networks.transformers.BertConfig(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=1
  )
  with pytest.raises(ValueError, match='emb_dim is None in the network'):
    attach(networks.transformers.BertModel(config))


def test_it_knows_what_is_exported_with_it(mixed):
  known = mixed.file.ADAPTERS.keys() | mixed.file.ROUTERS.keys()
  assert known == torch_file.IN_TORCH
