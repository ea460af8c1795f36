"""T5X's checkpoints as bases: a real one, and ones made like it."""

import json
import pathlib

import flax.serialization
import numpy as np
import pytest
import tensorstore

from moe_lite import cli, convert, loaded, models, parameters
from moe_lite.checkpoints import base, t5x
from moe_lite.errors import UserError
from moe_lite.t5 import T5Config, Transformer
from tests import tiny, tiny_run

SHARED = pathlib.Path(__file__).parents[3] / 'shared' / 'data'
REAL = SHARED / 't5x_checkpoint' / 'checkpoint_3'


def save(folder, scanned=False):
  """Writes the tiny base as T5X does: matrices beside the file, in zarr."""
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
    # As a checkpoint says it that was written to a bucket.
    leaves[path] = {
      'driver': 'zarr',
      'kvstore': {'driver': 'gcs', 'bucket': 'b', 'path': f'elsewhere/{name}'},
      'metadata': {'shape': list(leaf.shape)},
    }
  state = {'step': np.int32(3), 'param_states': {}}
  target = parameters.unflatten(leaves)
  contents = {'version': 3, 'optimizer': {'target': target, 'state': state}}
  (folder / t5x.FILE).write_bytes(
    flax.serialization.msgpack_serialize(contents)
  )
  return str(folder)


@pytest.mark.parametrize('scanned', [False, True], ids=['loop', 'scan'])
def test_it_is_a_base_bit_for_bit(tmp_path, scanned):
  path = save(tmp_path, scanned)
  abstract = tiny.model({}).abstract_variables()['params']
  params, info = base.load_base(path, abstract)
  wanted = parameters.flatten(tiny.base_params())
  found = parameters.flatten(params)
  assert found.keys() == wanted.keys() and info.source == path
  for name, leaf in wanted.items():
    np.testing.assert_array_equal(found[name], leaf)
  assert info.fingerprint == parameters.fingerprint(tiny.base_params())


def test_what_is_broken_is_named(tmp_path):
  path = save(tmp_path)
  name = 'encoder/layers_0/mlp/wo/kernel'
  (tmp_path / ('target.' + name.replace('/', '.')) / '.zarray').unlink()
  with pytest.raises(UserError, match=f'{name} of .* cannot be read'):
    base.read(path)
  (tmp_path / t5x.FILE).write_bytes((tmp_path / t5x.FILE).read_bytes()[:99])
  with pytest.raises(UserError, match="is not T5X's.*cut off"):
    base.read(path)


def test_a_run_goes_to_t5x_and_back(tmp_path):
  """As T5X would have saved it: evaluation finds the same parameters."""
  base_path, run = tiny_run.write(tmp_path)
  checkpoint = str(tmp_path / 'x' / 'checkpoint_7')
  argv = ['convert', 'export_t5x', run, f'--to={checkpoint}']
  assert cli.guard(convert.convert, argv, None) == 0
  assert cli.guard(convert.convert, argv, None) == 2  # It exists now.
  ours, back = (
    loaded.load(tiny_run.model(), path, base_path, base_dtype='float32')
    for path in (run, checkpoint)
  )
  fingerprint = ours.facts['trainable_fingerprint']
  assert back.facts['trainable_fingerprint'] == fingerprint
  assert back.facts['step'] == ours.facts['step'] == tiny_run.STEP
  with pytest.raises(UserError, match='in the checkpoint, now'):
    loaded.load(tiny_run.model(num_experts=3), checkpoint, base_path)


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
  model = models.EncoderDecoderModel(Transformer(config))
  abstract = model.abstract_variables()['params']
  params, _ = base.load_base(str(REAL), abstract)
  for path, leaf in parameters.flatten(params).items():
    assert np.isfinite(leaf).all() and np.any(leaf != 0), path
  kernel = REAL / 'target.decoder.logits_dense.kernel' / '.zarray'
  shape = json.loads(kernel.read_text())['shape']
  assert list(params['decoder']['logits_dense']['kernel'].shape) == shape
