"""Bases that are downloaded, from a hub on this machine."""

import json
import pathlib
import socket

import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import bases, exported
from moe_lite.checkpoints.hugging_face import model
from moe_lite.checkpoints.hugging_face.hub import download
from moe_lite.convert import command
from moe_lite.core.errors import UserError
from moe_lite.process import cli
from tests.checkpoints.hugging_face import written_files as made
from tests.tasks.p3 import loopback_hub as hubs

REPOSITORY = 'someone/a-t5.v1'
ADDRESS = f'hf://{REPOSITORY}'


@pytest.fixture
def root(tmp_path):
  """A repository that holds its weights in two formats, and other files."""
  root = made.write(tmp_path / 'repository', made.state('1.1'))
  for name in ('README.md', 'pytorch_model.bin', 'tf_model.h5'):
    (root / name).write_bytes(b'never read')
  (root / 'spiece.model').write_bytes(b'for whoever needs a vocabulary')
  return root


@pytest.fixture
def hub(root, tmp_path, monkeypatch):
  cache = str(tmp_path / 'cache')
  monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', cache)
  monkeypatch.setattr('time.sleep', lambda seconds: None)
  with hubs.serve(root, REPOSITORY, 'models') as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    yield hub


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, leaf in expected.items():
    np.testing.assert_array_equal(found[name], leaf)


def test_one_format_is_downloaded_once(hub, root):
  assert_same(bases.read(ADDRESS), model.read(root))
  assert hub.downloads() == ['config.json', 'model.safetensors', 'spiece.model']
  hub.requests.clear()
  bases.read(ADDRESS)
  assert not hub.downloads()


def test_a_sharded_model_is_downloaded_whole(hub, root):
  expected = model.read(root)
  (root / 'model.safetensors').unlink()
  made.write_shards(
    root,
    made.state('1.1'),
    3,
    lambda path, leaves: safetensors.numpy.save_file(leaves, path),
    'model.safetensors',
  )
  assert_same(bases.read(ADDRESS), expected)
  assert len(hub.downloads()) == 6


def test_a_name_without_the_prefix_is_a_model_unless_a_path_is_meant(
  hub, root, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert_same(bases.read(REPOSITORY), model.read(root))
  assert exported.local('elsewhere/') == 'elsewhere/'
  assert exported.local('a/b/c') == 'a/b/c'
  (tmp_path / 'someone').mkdir()
  hub.requests.clear()
  with pytest.raises(UserError, match=f"'{REPOSITORY}': there is no base"):
    bases.read(REPOSITORY)
  assert not hub.requests


def test_a_name_that_is_neither_names_both_readings(hub, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  slept = []
  monkeypatch.setattr('time.sleep', slept.append)
  for endpoint in (hub.url, 'http://127.0.0.1:9'):
    monkeypatch.setenv('HF_ENDPOINT', endpoint)
    with pytest.raises(UserError) as error:
      bases.read('runs/mov')
    text = str(error.value)
    assert "'runs/mov' is neither a path nor a model of the hub" in text
    assert f"there is no 'runs' in {tmp_path}" in text
    assert 'As a model of the hub: hf://runs/mov cannot be downloaded' in text
  assert not slept


@pytest.mark.parametrize('revision', ['v2', 'e' * 40])
def test_a_revision_is_that_one(hub, root, revision):
  hub.commits['v2'] = hub.commits['e' * 40] = 'e' * 40
  assert ('e' * 40) in download(f'{ADDRESS}@{revision}')


def test_what_was_downloaded_serves_without_the_hub(hub, root, monkeypatch):
  expected = bases.read(ADDRESS)
  with socket.socket() as unused:
    unused.bind(('127.0.0.1', 0))
    port = unused.getsockname()[1]
  monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{port}')
  assert_same(bases.read(ADDRESS), expected)
  # Nothing is waited for: the machine is probably offline.
  monkeypatch.setattr('time.sleep', lambda seconds: pytest.fail('It waits.'))
  with pytest.raises(UserError) as error:
    bases.read(f'{ADDRESS}@v2')
  for said in (
    f'{ADDRESS}@v2 cannot be downloaded, because the hub cannot be reached',
    f'http://127.0.0.1:{port}',
    'cache of earlier downloads, ',
    f'hf download {REPOSITORY} --revision v2 --local-dir DIR',
  ):
    assert said in str(error.value)


def test_whoever_wants_no_network_is_told_so(hub, monkeypatch):
  monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
  with pytest.raises(UserError, match='HF_HUB_OFFLINE is set.*HF_HOME'):
    bases.read(ADDRESS)


def test_a_passing_fault_is_survived(hub, root):
  hub.faults['model.safetensors'] += [500, 'cut', 429]
  assert_same(bases.read(ADDRESS), model.read(root))


@pytest.mark.parametrize('fault', [404, 500])
def test_a_lasting_fault_is_told(hub, fault):
  hub.faults['model.safetensors'] += [fault] * 50
  with pytest.raises(UserError, match=f'{ADDRESS} cannot be downloaded: '):
    bases.read(ADDRESS)


@pytest.mark.parametrize(
  'address, message',
  [
    ('hf://someone/else', 'hf://someone/else cannot be downloaded: .*404'),
    (f'{ADDRESS}@gone', f'{ADDRESS}@gone cannot be downloaded: '),
    (
      'hf://someone',
      'is not the address of a model: give hf://ORGANISATION/NAME',
    ),
    ('hf://a/b/c', 'is not the address of a model'),
    (f'{ADDRESS}@', 'is not the address of a model'),
  ],
)
def test_mistakes_are_named(hub, address, message):
  with pytest.raises(UserError, match=message):
    bases.read(address)


@pytest.mark.parametrize('kept', [['config.json'], ['model.safetensors']])
def test_a_repository_of_something_else_is_refused(hub, root, kept):
  for path in root.iterdir():
    if path.name not in kept:
      path.unlink()
  with pytest.raises(UserError, match='is not a model that can be read'):
    bases.read(ADDRESS)
  assert not hub.downloads()


def test_a_download_is_exported(hub, root, tmp_path):
  argv = ['x', 'export_hf', ADDRESS, f'--to={tmp_path}/out']
  assert cli.guard(command.convert, argv, None) == 0
  assert_same(
    safetensors.numpy.load_file(tmp_path / 'out' / 'model.safetensors'),
    made.state('1.1'),
  )
  config = json.loads(pathlib.Path(tmp_path, 'out/config.json').read_text())
  assert config['feed_forward_proj'] == 'gated-gelu'
