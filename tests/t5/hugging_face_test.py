"""The network against Hugging Face's T5 with the same random weights.

The weights go through folders that transformers wrote, and that it reads.
"""

import dataclasses
import json

import numpy as np
import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.checkpoints.hugging_face import config as configs
from moe_lite.checkpoints.hugging_face import model as hugging_face
from moe_lite.convert import command
from moe_lite.core.errors import UserError
from moe_lite.process import cli
from tests.t5.hugging_face_networks import (
  SIZES,
  VERSIONS,
  assert_close,
  assert_greedy_tokens_equal,
  load_ours,
  our_config,
  our_logits,
  their_logits,
  their_network,
)

torch = pytest.importorskip('torch', reason='needs the extra `hf`: torch')
transformers = pytest.importorskip(
  'transformers', reason='needs the extra `hf`: transformers'
)

pytestmark = pytest.mark.hf


def save_whole(network, folder):
  network.save_pretrained(folder)


def save_sharded(network, folder):
  network.save_pretrained(folder, max_shard_size='60KB')
  assert len(list(folder.glob('model-*-of-*.safetensors'))) > 2


def save_by_torch(network, folder):
  """As transformers 4 saved: weights by torch, every copy under its name."""
  network.config.save_pretrained(folder)
  torch.save(network.state_dict(), folder / 'pytorch_model.bin')


def save_by_torch_in_parts(network, folder):
  network.config.save_pretrained(folder)
  state = network.state_dict()
  weight_map = {}
  for part in (1, 2):
    name = f'pytorch_model-{part:05d}-of-00002.bin'
    held = dict(list(state.items())[part - 1 :: 2])
    torch.save(held, folder / name)
    weight_map |= dict.fromkeys(held, name)
  index = {'metadata': {}, 'weight_map': weight_map}
  (folder / 'pytorch_model.bin.index.json').write_text(json.dumps(index))


SAVED = {
  'whole': save_whole,
  'sharded': save_sharded,
  'torch': save_by_torch,
  'torch in parts': save_by_torch_in_parts,
}


@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize('version', VERSIONS)
def test_logits_are_those_of_hugging_face(tmp_path, version, scan_layers):
  theirs = their_network(version)
  save_whole(theirs, tmp_path)
  config = our_config(version, scan_layers=scan_layers)
  model, params = load_ours(tmp_path, config)
  assert_close(our_logits(model, params), their_logits(theirs))


@pytest.mark.parametrize('version', ['1.0', '1.1'])
def test_every_format_holds_the_same(tmp_path, version):
  theirs = their_network(version)
  read = {}
  for name, save in SAVED.items():
    folder = tmp_path / name
    folder.mkdir()
    save(theirs, folder)
    assert configs.network(folder) == our_config(version)
    read[name] = hugging_face.read(folder)
  whole = read.pop('whole')
  for leaves in read.values():
    assert leaves.keys() == whole.keys()
    for path, leaf in whole.items():
      np.testing.assert_array_equal(leaves[path], leaf, err_msg=path)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_types_of_torch_are_kept(tmp_path, dtype):
  theirs = their_network('1.1').to(getattr(torch, dtype))
  for name in ('whole', 'torch'):
    (tmp_path / name).mkdir()
    SAVED[name](theirs, tmp_path / name)
  whole, other = (hugging_face.read(tmp_path / x) for x in ('whole', 'torch'))
  for path, leaf in whole.items():
    assert leaf.dtype.name == other[path].dtype.name == dtype
    np.testing.assert_array_equal(leaf, other[path])


@pytest.mark.parametrize('version', VERSIONS)
def test_greedy_decoding_is_theirs_token_by_token(tmp_path, version):
  theirs = their_network(version)
  save_whole(theirs, tmp_path)
  model, params = load_ours(tmp_path, our_config(version))
  assert_greedy_tokens_equal(theirs, model, params, 24)


@pytest.mark.parametrize('version', VERSIONS)
def test_transformers_loads_what_is_exported(tmp_path, version):
  source, out = tmp_path / 'theirs', tmp_path / 'ours'
  theirs = their_network(version)
  save_whole(theirs, source)
  # By way of a base of ours, of which leaves alone tell the network.
  model, params = load_ours(source, our_config(version))
  save_base(str(tmp_path / 'base'), params, {})
  folder = source
  if version in ('1.0', '1.1'):
    folder = tmp_path / 'base'
  argv = ['x', 'export_hf', str(folder), f'--to={out}']
  assert cli.guard(command.convert, argv, None) == 0
  back = transformers.T5ForConditionalGeneration.from_pretrained(out).eval()
  state = theirs.state_dict()
  assert back.state_dict().keys() == state.keys()
  for name, weight in back.state_dict().items():
    assert torch.equal(weight, state[name]), name
  assert_close(our_logits(model, params), their_logits(back))
  assert back.generation_config.eos_token_id == 1
  assert back.generation_config.decoder_start_token_id == 0


def test_another_t5_is_refused(tmp_path):
  config = transformers.UMT5Config(
    vocab_size=SIZES['vocab_size'], d_model=8, d_kv=4, d_ff=8, num_layers=1
  )
  transformers.UMT5ForConditionalGeneration(config).save_pretrained(tmp_path)
  with pytest.raises(UserError, match="model_type 'umt5'; only T5"):
    bases.read(str(tmp_path))


def test_what_torch_did_not_save_is_named(tmp_path):
  save_by_torch(their_network('1.1'), tmp_path)
  path = tmp_path / 'pytorch_model.bin'
  for content in (path.read_bytes()[:5000], b'foreign', b''):
    path.write_bytes(content)
    with pytest.raises(UserError, match='pytorch_model.bin is not a state'):
      bases.read(str(tmp_path))
  torch.save({'a': dataclasses.field}, path)  # Code, which is not run.
  with pytest.raises(UserError, match='pytorch_model.bin is not a state'):
    bases.read(str(tmp_path))
