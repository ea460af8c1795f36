"""Bases: every leaf accounted for, in either form, from every source."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.base_folder import WEIGHTS, save_base
from moe_lite.checkpoints.metadata import METADATA
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters, quantization
from moe_lite.core.errors import UserError
from moe_lite.t5 import description
from tests import tiny


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny.save_base(tmp_path_factory.mktemp('bases') / 'tiny')


def wanted(**arguments):
  return tiny.model({}, **arguments).abstract_variables()['params']


@pytest.mark.parametrize('source', ['folder', 'file'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int8'])
@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
def test_it_comes_back_in_the_form_and_type_wanted(
  folder, source, dtype, scan_layers
):
  path = folder if source == 'folder' else f'{folder}/{WEIGHTS}'
  leaves = parameters.flatten(wanted(scan_layers=scan_layers))
  abstract = parameters.unflatten(
    quantization.abstract(leaves, dict.fromkeys(leaves, dtype))
  )
  params, info = bases.load_base(path, abstract)
  held = {
    name: quantization.hold(name, leaf, dtype)
    for name, leaf in parameters.flatten(tiny.base_params()).items()
  }
  expected = parameters.like_network(parameters.unflatten(held), scan_layers)
  jax.tree.map(np.testing.assert_array_equal, params, expected)
  assert info.fingerprint == parameters.fingerprint(tiny.base_params())
  metadata = json.loads((pathlib.Path(folder) / METADATA).read_text())
  assert metadata['fingerprint'] == info.fingerprint


def test_leaves_may_be_held_in_types_of_their_own(folder):
  abstract = parameters.flatten(wanted())
  abstract['token_embedder/embedding'] = abstract[
    'token_embedder/embedding'
  ].update(dtype=jnp.bfloat16)
  params, _ = bases.load_base(folder, parameters.unflatten(abstract))
  leaves = parameters.flatten(params)
  assert leaves.pop('token_embedder/embedding').dtype == jnp.bfloat16
  assert {x.dtype for x in leaves.values()} == {np.dtype('float32')}


def test_a_base_is_never_overwritten(folder, tmp_path):
  with pytest.raises(UserError, match='not overwritten'):
    save_base(folder, tiny.base_params(1), {})
  # What an interrupted save left is no base.
  (tmp_path / 'new.partial').mkdir()
  save_base(
    str(tmp_path / 'new'),
    parameters.cast(tiny.base_params(), ml_dtypes.bfloat16),
    {},
  )
  leaves = bases.read(str(tmp_path / 'new'))
  assert {x.dtype.name for x in leaves.values()} == {'bfloat16'}


def test_a_run_that_trained_everything_is_a_base(tmp_path):
  checkpoints = Checkpoints(str(tmp_path))
  checkpoints.save(
    1, tiny.base_params(), {'step': jnp.int32(1)}, {}, tiny.DESCRIPTION
  )
  checkpoints.close()
  params, info = bases.load_base(str(tmp_path), wanted())
  jax.tree.map(np.testing.assert_array_equal, params, tiny.base_params())
  assert info.fingerprint == parameters.fingerprint(tiny.base_params())


def test_a_run_of_adapters_is_none(tmp_path):
  checkpoints = Checkpoints(str(tmp_path))
  adapters = {'layers_0': {'key_adapter': {'scale': jnp.ones(3)}}}
  checkpoints.save(1, adapters, {'step': jnp.int32(1)}, {}, tiny.DESCRIPTION)
  checkpoints.close()
  with pytest.raises(UserError, match='adapters only'):
    bases.load_base(str(tmp_path), wanted())


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'layers': 3}, 'lacks encoder/layers_2/'),
    ({'layers': 1}, 'has, beyond what the network takes, encoder/layers_1/'),
  ],
)
def test_every_leaf_is_accounted_for(folder, arguments, message):
  with pytest.raises(UserError, match=message):
    bases.load_base(folder, wanted(**arguments))


@pytest.mark.parametrize('dtype', ['int8', 'bool', 'float64'])
def test_other_types_are_refused(folder, tmp_path, dtype):
  name = 'encoder/layers_0/mlp/wo/kernel'
  leaves = bases.read(folder)
  leaves[name] = leaves[name].astype(dtype)
  safetensors.numpy.save_file(leaves, tmp_path / WEIGHTS)
  with pytest.raises(UserError, match=f'types other than .*: {name} {dtype}'):
    bases.load_base(str(tmp_path), wanted())


def test_what_shapes_do_not_tell_is_compared(tmp_path):
  network = tiny.model({}).module.config
  save_base(
    str(tmp_path / 'x'),
    tiny.base_params(),
    {'network': description.to_json(network)},
  )
  bases.load_base(str(tmp_path / 'x'), wanted(), network)
  other = dataclasses.replace(network, mlp_activations=('relu', 'linear'))
  with pytest.raises(UserError, match='gelu.* in the base, .*relu.* in the'):
    bases.load_base(str(tmp_path / 'x'), wanted(), other)


def test_other_shapes_are_refused(folder):
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((*x.shape, 1), x.dtype), wanted()
  )
  with pytest.raises(UserError, match=r'instead of \(16, 1\).*and 34 more'):
    bases.load_base(folder, abstract)


def test_no_base_is_an_error_with_the_choices(tmp_path):
  with pytest.raises(UserError, match='ships with the package'):
    bases.load_base('no_such_base', wanted())
  broken = tmp_path / 'broken.safetensors'
  broken.write_bytes(b'not at all')
  with pytest.raises(UserError, match='is not a safetensors file'):
    bases.load_base(str(broken), wanted())
