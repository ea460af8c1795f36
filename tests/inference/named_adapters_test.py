"""Several adapters over one base: by name, by weights, and by rows."""

import jax
import numpy as np
import pytest

import moe_lite
from moe_lite import adapters
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.inference.named_adapters import NamedAdapters
from moe_lite.inference.source import ModelSource
from tests import tiny_export

TEXTS = [f'Is a {bird} a bird?' for bird in ('robin', 'heron', 'drum', 'key')]
CHOICES = ['yes', 'no', 'maybe']
IA3 = {'key': adapters.IA3, 'intermediate': adapters.IA3}
LORA = {'query': adapters.LoRA, 'wo': adapters.LoRA}


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  folder = tmp_path_factory.mktemp('named')
  base = tiny_export.write_base(folder / 'base')
  write = lambda name, sites, seed: tiny_export.write(
    folder / name, base, sites=sites, seed=seed
  )
  return {
    'base': base,
    'one': write('one', IA3, 1),
    'two': write('two', IA3, 2),
    'pair': write('pair', LORA, 3),
    'second': write('second', LORA, 4),
    'routed': write('routed', None, 5),
  }


@pytest.fixture(scope='module')
def model(paths):
  model = moe_lite.load(paths['base'], batch_size=4)
  for name in ('one', 'two', 'pair', 'second', 'routed'):
    model.load_adapter(paths[name], name)
  return model


def scores(model):
  return np.stack(model.score(TEXTS, CHOICES))


@pytest.mark.parametrize('name', ['one', 'pair', 'routed'])
def test_named_adapters_are_what_a_loaded_model_has(model, paths, name):
  alone = moe_lite.load(paths['base'], paths[name], batch_size=4)
  model.set_adapter(name)
  np.testing.assert_array_equal(scores(model), scores(alone))
  assert model.generate(TEXTS) == alone.generate(TEXTS)
  assert model.facts['method'] == alone.facts['method']
  assert (
    model.facts['trainable_fingerprint'] == alone.facts['trainable_fingerprint']
  )


def test_none_is_the_base_alone(model, paths):
  model.set_adapter('one')
  model.set_adapter(None)
  base = moe_lite.load(paths['base'], batch_size=4)
  np.testing.assert_array_equal(scores(model), scores(base))
  assert model.facts['method'] == {}


def test_a_model_with_adapters_may_take_others(paths, model):
  first = moe_lite.load(paths['base'], paths['routed'], batch_size=4)
  before = scores(first)
  first.load_adapter(paths['one'], 'one')
  np.testing.assert_array_equal(scores(first), before)
  first.set_adapter('one')
  model.set_adapter('one')
  np.testing.assert_array_equal(scores(first), scores(model))


def test_adapters_are_disabled_for_a_while(model):
  model.set_adapter(None)
  base = scores(model)
  model.set_adapter('one')
  with_one = scores(model)
  with model.disable_adapter():
    assert model.active_adapter is None
    np.testing.assert_array_equal(scores(model), base)
  with pytest.raises(ZeroDivisionError), model.disable_adapter():
    raise ZeroDivisionError
  assert model.active_adapter == 'one'
  np.testing.assert_array_equal(scores(model), with_one)


def test_adapters_that_a_model_begins_with_have_a_name(model, paths):
  first = moe_lite.load(paths['base'], paths['one'], batch_size=4)
  assert list(first.adapters) == ['default']
  before = scores(first)
  first.set_adapter(None)
  first.set_adapter('default')
  np.testing.assert_array_equal(scores(first), before)
  several = moe_lite.load(
    paths['base'], {'one': paths['one'], 'two': paths['two']}, batch_size=4
  )
  assert list(several.adapters) == ['one', 'two']
  assert several.active_adapter == 'one'
  np.testing.assert_array_equal(scores(several), before)
  several.set_adapter('two')
  model.set_adapter('two')
  np.testing.assert_array_equal(scores(several), scores(model))


def test_the_base_is_in_memory_once(paths):
  source = ModelSource(
    tiny_export.model(paths['base'], IA3), 'base', paths['base']
  )
  named = NamedAdapters(source.load())
  for name in ('one', 'pair', 'routed'):
    named.add(name, paths[name])
  models = [named.find(name) for name in ('one', 'pair', 'routed', None)]
  kernels = [
    parameters.flatten(x.params)['encoder/layers_0/mlp/wo/kernel']
    for x in models
  ]
  assert all(kernel is kernels[0] for kernel in kernels)


def test_adapters_say_what_they_are(model, paths):
  info = model.adapters['routed']
  assert info.method == 'MoV' and info.source == paths['routed']
  assert info.num_experts == {'intermediate': 3, 'key': 2}
  assert list(info.sites) == ['intermediate', 'key']
  assert info.sites['key'].startswith('MoV(num_experts=2, ')
  assert info.base == paths['base'] and info.step == 1
  assert model.adapters['one'].num_experts == {}
  model.set_adapter('routed')
  assert info.trainable_parameters == model.facts['trainable_parameters']
  text = repr(model)
  assert f'base: {paths["base"]}, 22,200 parameters' in text
  assert "adapters 'routed' (in use): MoV with 2 or 3 experts at" in text
  assert "adapters 'pair': LoRA at query, wo; " in text
  model.set_adapter({'one': 0.25, 'two': 0.75})
  assert model.active_adapter == {'one': 0.25, 'two': 0.75}
  assert 'in use: 0.25 one + 0.75 two' in repr(model)
  model.set_adapter(None)
  assert 'in use: the base alone' in repr(model)


def test_rows_name_their_adapters_and_switching_compiles_nothing(model):
  names = ['one', None, 'two', 'one']
  apart = {}
  for name in dict.fromkeys(names):
    model.set_adapter(name)
    apart[name] = scores(model), model.generate(TEXTS)
    for size in (1, 2):  # The shapes of the groups of rows.
      model.score(TEXTS[:size], CHOICES)
      model.generate(TEXTS[:size])
  model.set_adapter('two')
  compiled = []
  listen = lambda event, *_, **__: compiled.append(event)
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    together = np.stack(model.score(TEXTS, CHOICES, adapters=names))
    texts = model.generate(TEXTS, adapters=names)
    model.set_adapter('one')
    model.score(TEXTS, CHOICES)
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert not [x for x in compiled if 'backend_compile' in x]
  for i, name in enumerate(names):
    np.testing.assert_allclose(together[i], apart[name][0][i], rtol=1e-5)
    assert texts[i] == apart[name][1][i]


def test_rows_leave_the_adapters_in_use(model):
  model.set_adapter('two')
  before = scores(model)
  model.score(TEXTS, CHOICES, adapters=['one'] * 4)
  np.testing.assert_array_equal(scores(model), before)


@pytest.mark.parametrize('names', [('one', 'two'), ('pair', 'second')])
def test_weights_mix_adapters_of_a_method(model, names):
  first, second = names
  model.set_adapter(first)
  alone = scores(model)
  model.set_adapter({first: 1.0, second: 0.0})
  np.testing.assert_allclose(scores(model), alone, rtol=2e-5)
  model.set_adapter({first: 0.5, second: 0.5})
  both = scores(model)
  model.set_adapter({second: 0.5, first: 0.5})
  np.testing.assert_allclose(scores(model), both, rtol=2e-5)
  assert np.abs(both - alone).max() > 1e-3
  assert model.facts['checkpoint'] == f'0.5 {second} + 0.5 {first}'


def test_a_base_that_was_trained_takes_no_other_adapters(paths, tmp_path):
  whole = tiny_export.write(
    tmp_path / 'whole', paths['base'], sites=IA3, trainable='.*'
  )
  model = moe_lite.load(paths['base'], whole, batch_size=4)
  for call in (
    lambda: model.load_adapter(paths['one'], 'one'),
    lambda: model.set_adapter(None),
  ):
    with pytest.raises(UserError, match='Give load.. the base alone'):
      call()
  base = moe_lite.load(paths['base'], batch_size=4)
  with pytest.raises(UserError, match='It is a base of its own'):
    base.load_adapter(whole, 'whole')


def test_mistakes(model, paths, tmp_path):
  refuse = lambda message: pytest.raises(UserError, match=message)
  with refuse("'one' is the name of other adapters"):
    model.load_adapter(paths['two'], 'one')
  with refuse("'onee' is not the name .* Did you mean 'one'"):
    model.set_adapter('onee')
  with refuse('MoV at intermediate cannot be mixed by weights'):
    model.set_adapter({'routed': 1.0})
  with refuse('stand at different sites'):
    model.set_adapter({'one': 0.5, 'pair': 0.5})
  with refuse('Weights of adapters are missing'):
    model.set_adapter({})
  with refuse("The weight of 'one' is nan"):
    model.set_adapter({'one': float('nan')})
  with refuse("The weight of 'one' is 'a'"):
    model.set_adapter({'one': 'a'})
  with refuse('step = 3 chooses a checkpoint of a run'):
    model.load_adapter(paths['one'], 'other', step=3)
  with refuse('give both as lists'):
    model.generate(TEXTS[0], adapters=['one'])
  with refuse('give both as lists'):
    model.score(TEXTS, CHOICES, adapters='one')
  with refuse('adapters names 1 for 4 inputs'):
    model.score(TEXTS, CHOICES, adapters=['one'])
  with refuse("'onee' is not the name"):
    model.score(TEXTS, CHOICES, adapters=['one', 'onee', 'one', 'one'])
  other = tiny_export.write(tmp_path / 'x', paths['base'], fingerprint='other')
  with refuse('stands on another base'):
    model.load_adapter(other, 'other')
