"""T5X's checkpoints as bases: a real one, and ones made like it."""

import json
import subprocess
import sys

import flax.serialization
import numpy as np
import pytest
import tensorstore

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.inference.source import ModelSource
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process import cli
from moe_lite.t5 import T5Config, Transformer
from tests import tiny, tiny_run
from tests.checkpoints.same_base import assert_is_the_base
from tests.paths import SHARED

DATA = SHARED / 'data'
REAL = DATA / 't5x_checkpoint' / 'checkpoint_3'


def save(folder, scanned=False, place=None):
  """Writes the tiny base as T5X does: matrices beside the file, in zarr.

  What the file says of a matrix that lies in `name` is `place(name)`.
  """
  params = parameters.like_network(tiny.base_params(), scanned)
  leaves = {}
  for path, leaf in parameters.flatten(params).items():
    if leaf.ndim < 2:
      leaves[path] = leaf
      continue
    name = 'target.' + path.replace('/', '.')
    store = {'driver': 'zarr', 'kvstore': {'driver': 'file'}}
    store['kvstore']['path'] = str(folder / name)
    tensorstore.open(
      store, create=True, dtype=leaf.dtype, shape=leaf.shape
    ).result().write(leaf).result()
    leaves[path] = {
      **(place or in_a_bucket)(name),
      'metadata': {'shape': list(leaf.shape)},
    }
  state = {'step': np.int32(3), 'param_states': {}}
  target = parameters.unflatten(leaves)
  contents = {'version': 3, 'optimizer': {'target': target, 'state': state}}
  (folder / native.FILE).write_bytes(
    flax.serialization.msgpack_serialize(contents)
  )
  return str(folder)


def in_a_bucket(name):
  """As a checkpoint says it that was written to one."""
  kvstore = {'driver': 'gcs', 'bucket': 'b', 'path': f'elsewhere/{name}'}
  return {'driver': 'zarr', 'kvstore': kvstore}


# As other versions say it.
PLACES = {
  'relative': lambda name: {
    'driver': 'zarr',
    'kvstore': {'driver': 'gfile', 'path': name},
  },
  'at the top': lambda name: {
    'driver': 'zarr',
    'kvstore': {'driver': 'file'},
    'path': f'/elsewhere/{name}/',
  },
  'converted': lambda name: {
    'driver': 'cast',
    'dtype': 'bfloat16',
    'base': in_a_bucket(name),
  },
}


@pytest.mark.parametrize('held', [False, True], ids=['loop', 'scan'])
@pytest.mark.parametrize('scanned', [False, True], ids=['loop', 'scan'])
def test_it_is_a_base_bit_for_bit(tmp_path, scanned, held):
  wanted = tiny.model({}, scan_layers=held).abstract_variables()['params']
  assert_is_the_base(save(tmp_path, scanned), wanted)


@pytest.mark.parametrize('place', PLACES.values(), ids=PLACES)
def test_older_files_are_read(tmp_path, place):
  assert_is_the_base(save(tmp_path, place=place))


@pytest.fixture(scope='module')
def in_bucket(bucket):
  """The address of a bucket with a checkpoint; what it was asked for."""
  folder, address, asked = bucket
  (folder / 'runs' / 'checkpoint_3').mkdir(parents=True)
  save(folder / 'runs' / 'checkpoint_3')
  return address, asked


def test_it_is_read_from_a_bucket(in_bucket):
  root, asked = in_bucket
  assert_is_the_base(f'{root}/runs/checkpoint_3')
  array = 'runs/checkpoint_3/target.decoder.layers_0.mlp.wo.kernel/0.0'
  assert asked.count(array) == 1
  assert native.read_step(f'{root}/runs/checkpoint_3') == 3
  # Looking whether it is there reads nothing.
  assert asked.count('runs/checkpoint_3/checkpoint') == 2
  with pytest.raises(UserError, match='forbidden/checkpoint cannot be read'):
    bases.read(f'{root}/forbidden')


def test_nothing_else_is_needed_for_a_bucket(in_bucket, tmp_path):
  """By commands and from Python, where neither TensorFlow nor gcsfs helps."""
  root, _ = in_bucket
  code = f"""
import sys
sys.modules['tensorflow'] = sys.modules['gcsfs'] = None
import moe_lite
from moe_lite.convert import command
from moe_lite.process import cli
path = {f'{root}/runs/checkpoint_3'!r}
for argv in (['inspect', path], ['export_base', path, '--to={tmp_path}/ours']):
  assert not cli.guard(command.convert, ['convert', *argv], None), argv
class Letters:
  encode = lambda self, text: [3 + ord(x) % 40 for x in text]
  decode = lambda self, ids: ''
ours, theirs = (
  moe_lite.load(x, vocabulary=Letters()).score('a b', ['c', 'd'])
  for x in ('{tmp_path}/ours', path)
)
assert (ours == theirs).all()
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True
  )
  assert not done.returncode, done.stderr[-2000:]


NAME = 'encoder/layers_0/mlp/wo/kernel'


def no_array(folder, contents):
  (folder / '.zarray').unlink()
  return f'{NAME} of .* cannot be read'


def no_chunk(folder, contents):
  (folder / '0.0').unlink()
  return f'{NAME} of .* cannot be read'


def cut_off(folder, contents):
  chunk = folder / '0.0'
  chunk.write_bytes(chunk.read_bytes()[:-9])
  return f'{NAME} of .* cannot be read'


def of_another_checkpoint(folder, contents):
  metadata = json.loads((folder / '.zarray').read_text())
  metadata['shape'][0] = metadata['chunks'][0] = 5
  (folder / '.zarray').write_text(json.dumps(metadata))
  return f'{NAME} of .* is \\(5, 16\\), but \\(32, 16\\) by its checkpoint'


def cut_off_file(folder, contents):
  contents.write_bytes(contents.read_bytes()[:99])
  return "is not T5X's.*cut off"


def of_tensorflow(folder, contents):
  contents.write_text('model_checkpoint_path: "model.ckpt-1000"')
  return "is not T5X's"


def without_parameters(folder, contents):
  empty = {'version': 3, 'optimizer': {'state': {'step': np.int32(1)}}}
  contents.write_bytes(flax.serialization.msgpack_serialize(empty))
  return 'holds no parameters'


def built_otherwise(folder, contents):
  state = flax.serialization.msgpack_restore(contents.read_bytes())
  state['optimizer']['target']['encoder']['layers_0']['mlp']['wo']['kernel'][
    'kvstore'
  ] = 'x'
  contents.write_bytes(flax.serialization.msgpack_serialize(state))
  return "is not T5X's: AttributeError"


@pytest.mark.parametrize(
  'damage',
  [
    built_otherwise,
    no_array,
    no_chunk,
    cut_off,
    of_another_checkpoint,
    cut_off_file,
    of_tensorflow,
    without_parameters,
  ],
)
def test_what_is_broken_is_named(tmp_path, damage):
  path = save(tmp_path)
  array = tmp_path / ('target.' + NAME.replace('/', '.'))
  message = damage(array, tmp_path / native.FILE)
  with pytest.raises(UserError, match=message):
    bases.read(path)


def test_the_folder_of_a_run_names_its_checkpoints(tmp_path):
  for step in (9, 10):
    (tmp_path / f'checkpoint_{step}').mkdir()
    save(tmp_path / f'checkpoint_{step}')
  with pytest.raises(UserError, match='such as .*checkpoint_10'):
    bases.read(str(tmp_path))


def test_a_base_is_made_without_adapters(tmp_path):
  leaves = parameters.flatten(tiny.base_params())
  adapter = 'encoder/layers_0/attention/key_adapter/scale'
  path, ours = str(tmp_path / 'checkpoint_1'), str(tmp_path / 'ours')
  native.write(path, {**leaves, adapter: np.ones(3, np.float32)}, 1)
  argv = ['convert', 'export_base', path, f'--to={ours}']
  assert cli.guard(command.convert, argv, None) == 0
  assert_is_the_base(ours)


@pytest.mark.parametrize('scan', [False, True], ids=['loop', 'scan'])
def test_a_base_goes_to_t5x_and_back(tmp_path, scan, monkeypatch):
  # Some leaves lie beside the file, some in it.
  monkeypatch.setattr(native, 'LARGEST_WITHIN', 512)
  path = save(tmp_path)
  ours, back = str(tmp_path / 'ours'), str(tmp_path / 'checkpoint_3')
  argv = ['convert', 'export_base', path, f'--to={ours}']
  assert cli.guard(command.convert, argv, None) == 0
  argv = ['convert', 'export_t5x', ours, f'--to={back}']
  argv += ['--scan_layers'] if scan else []
  assert cli.guard(command.convert, argv, None) == 0
  assert_is_the_base(back)
  assert native.read_step(back) == 3
  assert list((tmp_path / 'checkpoint_3').glob('target.*'))
  for name, leaf in bases.read(path).items():
    assert bases.read(back)[name].tobytes() == leaf.tobytes()


def test_a_run_goes_to_t5x_and_back(tmp_path):
  """As T5X would have saved it: evaluation finds the same parameters."""
  base_path, run = tiny_run.write(tmp_path)
  checkpoint = str(tmp_path / 'x' / 'checkpoint_7')
  argv = ['convert', 'export_t5x', run, f'--to={checkpoint}']
  assert cli.guard(command.convert, argv, None) == 0
  assert cli.guard(command.convert, argv, None) == 2  # It exists now.
  ours, back = (
    ModelSource(tiny_run.model(), path, base_path, base_dtype='float32').load()
    for path in (run, checkpoint)
  )
  fingerprint = ours.facts.trainable_fingerprint
  assert back.facts.trainable_fingerprint == fingerprint
  assert back.facts.step == ours.facts.step == tiny_run.STEP
  with pytest.raises(UserError, match='in the checkpoint, now'):
    ModelSource(tiny_run.model(num_experts=3), checkpoint, base_path).load()


@pytest.mark.skipif(not REAL.exists(), reason='needs ../shared: a checkpoint')
def test_a_real_checkpoint_loads_with_every_leaf_accounted_for():
  config = T5Config(
    vocab_size=32128,
    emb_dim=4,
    num_heads=2,
    head_dim=2,
    mlp_dim=8,
    num_encoder_layers=2,
    num_decoder_layers=2,
    relative_attention_num_buckets=4,
  )
  model = EncoderDecoderModel(Transformer(config))
  abstract = model.abstract_variables()['params']
  params, _ = bases.load_base(str(REAL), abstract)
  for path, leaf in parameters.flatten(params).items():
    assert np.isfinite(leaf).all() and np.any(leaf != 0), path
  kernel = REAL / 'target.decoder.logits_dense.kernel' / '.zarray'
  shape = json.loads(kernel.read_text())['shape']
  assert list(params['decoder']['logits_dense']['kernel'].shape) == shape
