"""Adapters as a folder to hand on: bit for bit, and on their base alone."""

import json
import pathlib

import jax
import numpy as np
import pytest

import moe_lite
from moe_lite.checkpoints import exported, runs, torch_file
from moe_lite.checkpoints.base_folder import save_base
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.inference.source import ModelSource
from moe_lite.t5.description import describe_method, from_json, to_json
from tests import tiny_run

TRAINING = {'steps': tiny_run.STEP, 'data': 'tiny'}


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  return tiny_run.write(tmp_path_factory.mktemp('portable'))


@pytest.fixture
def mine(paths, tmp_path):
  folder = tmp_path / 'mine'
  restored = runs.restore_trainable(paths[1])
  exported.save(
    str(folder), *restored, TRAINING, b'pieces', {'inputs_eos': True}
  )
  return folder


def test_what_serves_it_on_torch_lies_beside(mine):
  package = pathlib.Path(moe_lite.__file__).parent
  file = package / 'checkpoints' / torch_file.TORCH
  assert (mine / torch_file.TORCH).read_bytes() == file.read_bytes()
  card = (mine / exported.CARD).read_text()
  assert 'torch_adapters.attach(network)' in card


def change_adapter(description, leaves):
  description.method.network['adapters']['key']['type'] = 'theirs.MoV'


def change_router(description, leaves):
  router = description.method.network['adapters']['key']['router']
  router['type'] = 'theirs.Router'


def hide_router(description, leaves):
  description.method.network['adapters']['key']['router'] = 'theirs_router'


def train_more(description, leaves):
  leaves['encoder']['encoder_norm'] = {'scale': np.ones(8, np.float32)}


@pytest.mark.parametrize(
  'change', [change_adapter, change_router, hide_router, train_more]
)
def test_nothing_for_torch_where_it_does_not_fit(paths, tmp_path, change):
  trained, description = runs.restore_trainable(paths[1])
  change(description, trained)
  exported.save(str(tmp_path / 'mine'), trained, description, TRAINING)
  assert not (tmp_path / 'mine' / torch_file.TORCH).exists()
  card = (tmp_path / 'mine' / exported.CARD).read_text()
  assert 'torch_adapters' not in card and 'do not load without JAX' in card


def test_the_first_exports_are_read(mine):
  config = json.loads((mine / exported.CONFIG).read_text())
  for later in ('text', 'seal', 'hashes'):
    del config[later]
  (mine / exported.CONFIG).write_text(json.dumps(config))
  assert exported.load(str(mine))[1].text == {}


def load(path, base):
  return ModelSource(
    tiny_run.model(), str(path), base, base_dtype='float32'
  ).load()


def assert_equal(one, other):
  one, other = parameters.flatten(one), parameters.flatten(other)
  assert one.keys() == other.keys()
  for name, leaf in one.items():
    assert leaf.dtype == other[name].dtype
    np.testing.assert_array_equal(leaf, other[name])


def test_it_is_read_back_bit_for_bit(paths, mine):
  trained, description = runs.restore_trainable(paths[1])
  again, said = exported.load(str(mine))
  assert_equal(again, trained)
  for name in ('step', 'base', 'method', 'tree'):
    assert getattr(said, name) == getattr(description, name)
  network = tiny_run.model().module.config
  assert said.method.network == to_json(network)
  built = from_json(said.method.network)
  assert describe_method(built) == said.method.sites
  card = (mine / exported.CARD).read_text()
  assert said.base.fingerprint in card and '# mine' in card
  assert not exported.is_exported(paths[1])


def test_it_serves_as_the_run(paths, mine):
  base, run = paths
  one, other = load(run, base), load(mine, base)
  assert_equal(
    jax.tree.map(np.asarray, one.params), jax.tree.map(np.asarray, other.params)
  )
  assert one.facts.base == other.facts.base
  assert one.facts.trainable_fingerprint == other.facts.trainable_fingerprint


def test_another_base_is_refused(mine, tmp_path):
  _, frozen = parameters.split(
    tiny_run.draw(seed=1), parameters.TRAINABLE_ADAPTERS
  )
  base = str(tmp_path / 'other')
  save_base(base, frozen, {})
  with pytest.raises(UserError, match='stands on another base'):
    load(mine, base)


def damage(folder, how):
  config = json.loads((folder / exported.CONFIG).read_text())
  del config['seal']
  weights = folder / exported.WEIGHTS
  first = next(iter(config['tree']))
  if how == 'cut short':
    weights.write_bytes(weights.read_bytes()[:-5])
    return 'is not a safetensors file'
  if how == 'no weights':
    weights.unlink()
    return 'cannot be read'
  if how == 'newer':
    config['version'] = 99
    says = 'reads up to 1'
  elif how == 'no step':
    del config['step']
    says = 'is damaged: its step is None'
  elif how == 'a base as a text':
    config['base'] = 'mini'
    says = "is damaged: its base is 'mini'"
  elif how == 'a leaf is missing':
    config['tree']['encoder/more'] = [[3], 'float32']
    says = r'encoder/more is absent, but float32 \[3\]'
  else:
    config['tree'][first][0] = [99]
    says = f'{first} is float32 .* but float32 .99. in'
  (folder / exported.CONFIG).write_text(json.dumps(config))
  return says


@pytest.mark.parametrize(
  'how',
  ['cut short', 'no weights', 'newer', 'no step', 'a base as a text']
  + ['a leaf is missing', 'shape'],
)
def test_a_damaged_folder_is_refused(mine, how):
  says = damage(mine, how)
  with pytest.raises(UserError, match=says):
    exported.load(str(mine))
