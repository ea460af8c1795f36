"""Several adapters over one base: by name, by weights, and by rows."""

import jax
import numpy as np
import pytest

import moe_lite
from moe_lite import adapters
from moe_lite.core.errors import UserError
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
    model.add(name, paths[name])
  return model


def scores(model):
  return np.stack(model.score(TEXTS, CHOICES))


@pytest.mark.parametrize('name', ['one', 'pair', 'routed'])
def test_named_adapters_are_what_a_loaded_model_has(model, paths, name):
  alone = moe_lite.load(paths['base'], paths[name], batch_size=4)
  model.use(name)
  np.testing.assert_array_equal(scores(model), scores(alone))
  assert model.generate(TEXTS) == alone.generate(TEXTS)
  assert model.facts['method'] == alone.facts['method']
  assert (
    model.facts['trainable_fingerprint'] == alone.facts['trainable_fingerprint']
  )


def test_none_is_the_base_alone(model, paths):
  model.use('one')
  model.use(None)
  base = moe_lite.load(paths['base'], batch_size=4)
  np.testing.assert_array_equal(scores(model), scores(base))
  assert model.facts['method'] == {}


def test_a_model_with_adapters_may_take_others(paths, model):
  first = moe_lite.load(paths['base'], paths['routed'], batch_size=4)
  before = scores(first)
  first.add('one', paths['one'])
  np.testing.assert_array_equal(scores(first), before)
  first.use('one')
  model.use('one')
  np.testing.assert_array_equal(scores(first), scores(model))


def test_rows_name_their_adapters_and_switching_compiles_nothing(model):
  names = ['one', None, 'two', 'one']
  apart = {}
  for name in dict.fromkeys(names):
    model.use(name)
    apart[name] = scores(model), model.generate(TEXTS)
    for size in (1, 2):  # The shapes of the groups of rows.
      model.score(TEXTS[:size], CHOICES)
      model.generate(TEXTS[:size])
  model.use('two')
  compiled = []
  listen = lambda event, *_, **__: compiled.append(event)
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    together = np.stack(model.score(TEXTS, CHOICES, adapters=names))
    texts = model.generate(TEXTS, adapters=names)
    model.use('one')
    model.score(TEXTS, CHOICES)
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert not [x for x in compiled if 'backend_compile' in x]
  for i, name in enumerate(names):
    np.testing.assert_allclose(together[i], apart[name][0][i], rtol=1e-5)
    assert texts[i] == apart[name][1][i]


def test_rows_leave_the_adapters_in_use(model):
  model.use('two')
  before = scores(model)
  model.score(TEXTS, CHOICES, adapters=['one'] * 4)
  np.testing.assert_array_equal(scores(model), before)


@pytest.mark.parametrize('names', [('one', 'two'), ('pair', 'second')])
def test_weights_mix_adapters_of_a_method(model, names):
  first, second = names
  model.use(first)
  alone = scores(model)
  model.use({first: 1.0, second: 0.0})
  np.testing.assert_allclose(scores(model), alone, rtol=2e-5)
  model.use({first: 0.5, second: 0.5})
  both = scores(model)
  model.use({second: 0.5, first: 0.5})
  np.testing.assert_allclose(scores(model), both, rtol=2e-5)
  assert np.abs(both - alone).max() > 1e-3
  assert model.facts['checkpoint'] == f'0.5 {second} + 0.5 {first}'


def test_a_base_that_was_trained_takes_no_other_adapters(paths, tmp_path):
  whole = tiny_export.write(
    tmp_path / 'whole', paths['base'], sites=IA3, trainable='.*'
  )
  model = moe_lite.load(paths['base'], whole, batch_size=4)
  for call in (lambda: model.add('one', paths['one']), lambda: model.use(None)):
    with pytest.raises(UserError, match='Give load.. the base alone'):
      call()
  base = moe_lite.load(paths['base'], batch_size=4)
  with pytest.raises(UserError, match='It is a base of its own'):
    base.add('whole', whole)


def test_mistakes(model, paths, tmp_path):
  refuse = lambda message: pytest.raises(UserError, match=message)
  with refuse("'one' is the name of other adapters"):
    model.add('one', paths['two'])
  with refuse("'onee' is not the name .* Did you mean 'one'"):
    model.use('onee')
  with refuse('MoV at intermediate cannot be mixed by weights'):
    model.use({'routed': 1.0})
  with refuse('stand at different sites'):
    model.use({'one': 0.5, 'pair': 0.5})
  with refuse('Weights of adapters are missing'):
    model.use({})
  with refuse("The weight of 'one' is nan"):
    model.use({'one': float('nan')})
  with refuse("The weight of 'one' is 'a'"):
    model.use({'one': 'a'})
  with refuse('step = 3 chooses a checkpoint of a run'):
    model.add('other', paths['one'], step=3)
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
    model.add('other', other)
