"""Adapters to begin with: what they become, and that it does the same."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.checkpoints import exported, initial_adapters
from moe_lite.checkpoints.description import BaseInfo, Description
from moe_lite.checkpoints.peft import folder as peft
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from moe_lite.t5.description import describe_run
from tests import tiny

SITES = ('key', 'wo')
BASE = BaseInfo('a base', 'its fingerprint')


def at_sites(adapter, **fields):
  return dict.fromkeys(SITES, functools.partial(adapter, **fields))


IA3, LORA = at_sites(adapters.IA3), at_sites(adapters.LoRA)
TOP_1 = functools.partial(routing.TopKRouter, k=1, renormalize=False)


def mov(count, **fields):
  return at_sites(adapters.MoV, num_experts=count, **fields)


def molora(count, **fields):
  return at_sites(adapters.MoLoRA, num_experts=count, **fields)


def unrolled(model):
  """The shapes of all parameters, layers apart."""
  params = model.abstract_variables()['params']
  return jax.eval_shape(parameters.unstack_layers, params)


def trained(model):
  """Adapters away from what they are at the beginning."""
  rng = np.random.default_rng(1)
  leaves = parameters.flatten(parameters.adapters_of(unrolled(model)))
  return {
    path: rng.normal(0.8, 0.4, leaf.shape).astype(np.float32)
    for path, leaf in sorted(leaves.items())
  }


def write(folder, sites, **changes):
  """An export of adapters; returns its folder, and path to leaf."""
  return write_model(folder, tiny.model(sites), **changes)


def write_model(folder, model, **changes):
  leaves = trained(model)
  method = describe_run(model.module.config, parameters.TRAINABLE_ADAPTERS)
  said = Description(method, BASE, step=7, **changes)
  exported.save(str(folder), parameters.unflatten(leaves), said, {'steps': 7})
  return str(folder), leaves


def read(source, sites, scan_layers=False, **options):
  model = tiny.model(sites, scan_layers)
  config = model.module.config
  return initial_adapters.read(source, config, unrolled(model), **options)


def logits(sites, leaves, scan_layers=False):
  """Of the network with adapters, where those that are missing are drawn."""
  model = tiny.model(sites, scan_layers)
  drawn = parameters.flatten(
    parameters.unstack_layers(
      model.module.init(jax.random.key(3), *(np.ones((1, 4), np.int32),) * 3)[
        'params'
      ]
    )
  )
  base = parameters.flatten(tiny.base_params())
  tree = parameters.unflatten({**drawn, **base, **leaves})
  params = parameters.like_network(tree, scan_layers)
  return np.asarray(jax.jit(model.logits)(params, tiny.batch()))


GROWTH = {
  'ia3': (IA3, IA3, 0),
  'lora': (LORA, LORA, 0),
  'mov': (mov(3), mov(3), 0),
  'molora': (molora(3), molora(3), 0),
  'ia3 to mov': (IA3, mov(4), 0),
  'ia3 to mov of inputs': (IA3, mov(4, router_reads='inputs'), 0),
  # A sum over more experts is rounded otherwise.
  # So is a product with few features beside more columns; from 64 features on
  # it is not (molora_test).
  'lora to molora': (LORA, molora(4), 1e-5),
  'mov to more': (mov(2), mov(6), 1e-5),
  'molora to more': (molora(2), molora(4), 1e-5),
}
# The others are slow tests.
QUICK = ('ia3 to mov', 'lora to molora', 'mov to more')


@pytest.mark.parametrize(
  'scan_layers',
  [False, pytest.param(True, marks=pytest.mark.slow)],
  ids=['loop', 'scan'],
)
@pytest.mark.parametrize(
  ('before', 'now', 'error'),
  [
    pytest.param(
      *pair, id=name, marks=[] if name in QUICK else [pytest.mark.slow]
    )
    for name, pair in GROWTH.items()
  ],
)
def test_the_first_step_is_the_sources_last(
  before, now, error, scan_layers, tmp_path
):
  source, leaves = write(tmp_path / 'source', before)
  taken = read(source, now, scan_layers)
  wanted = logits(before, leaves, scan_layers)
  found = logits(now, taken.leaves, scan_layers)
  assert np.abs(wanted - logits(before, {}, scan_layers)).max() > 0.1
  np.testing.assert_allclose(
    found, wanted, rtol=0, atol=error * np.abs(wanted).max()
  )


def test_what_is_new_is_listed_and_the_chain_goes_on(tmp_path):
  stage = {'source': 'runs/first', 'method': {}, 'trainable': '.*'}
  earlier = [stage]
  source, leaves = write(tmp_path / 'source', IA3, stages=earlier)
  sites = {**mov(2), 'value': adapters.IA3}
  taken = read(source, sites)
  assert {x.split('/')[-2] for x in taken.drawn} == {'router', 'value_adapter'}
  assert [x['source'] for x in taken.stages] == ['runs/first', source]
  assert taken.stages[-1]['steps'] == 7
  assert taken.stages[-1]['fingerprint'] == parameters.fingerprint(leaves)
  assert taken.base == BASE
  said = str(taken)
  assert 'IA3 as MoV' in said
  assert 'are drawn: decoder/layers_*' in said


def test_another_router_is_told(tmp_path):
  source, _ = write(tmp_path / 'source', mov(2))
  said = str(read(source, mov(2, router=routing.TopKRouter)))
  assert 'it was MoV(num_experts=2, router=SoftRouter(' in said
  assert 'and is MoV(num_experts=2, router=TopKRouter(' in said
  assert 'it was' not in str(read(source, mov(2)))


def test_noise_lets_copies_part_and_is_seeded(tmp_path):
  source, _ = write(tmp_path / 'source', IA3)
  path = 'encoder/layers_1/attention/key_adapter/scale'
  draws = [
    read(source, mov(3), noise=0.1, seed=seed).leaves[path]
    for seed in (0, 0, 1)
  ]
  still = read(source, mov(3)).leaves[path]
  np.testing.assert_array_equal(draws[0], draws[1])
  assert np.ptp(still, axis=0).max() == 0
  assert np.ptp(draws[0], axis=0).min() > 0
  assert not np.array_equal(draws[0], draws[2])
  assert 0.05 < np.std(draws[0] / still) < 0.2
  # What is not a copy cannot part.
  same, _ = write(tmp_path / 'same', mov(3))
  with pytest.raises(UserError, match='becomes the same adapters here'):
    read(same, mov(3), noise=0.1)


def test_the_gate_of_an_expert_begins_beside_it(tmp_path):
  source, leaves = write(tmp_path / 'source', LORA)
  gate = functools.partial(routing.GateRouter, by_task=False)
  taken = read(source, molora(1, router=gate))
  for path, leaf in leaves.items():
    np.testing.assert_array_equal(taken.leaves[path], leaf[None])
  assert {x.split('/')[-1] for x in taken.drawn} == {'gates'}
  with pytest.raises(UserError, match='do not sum to one'):
    read(source, molora(2, router=gate))


def test_begins_with_adapters_of_peft(tmp_path):
  leaves = trained(tiny.model(LORA))
  config = tiny.model(LORA).module.config
  peft.write(str(tmp_path / 'peft'), leaves, config)
  taken = read(str(tmp_path / 'peft'), molora(2))
  path = 'decoder/layers_0/mlp/wo_adapter/b'
  np.testing.assert_array_equal(taken.leaves[path], [leaves[path]] * 2)


@pytest.mark.parametrize(
  ('before', 'now', 'message'),
  [
    (IA3, LORA, r'IA3 at key, and this run has LoRA .* cannot begin'),
    (LORA, mov(2), r'LoRA at key, and this run has MoV'),
    (mov(2), IA3, r'MoV at key, and this run has IA3'),
    (mov(2), molora(2), r'MoV at key, and this run has MoLoRA'),
    (IA3, mov(2, router=TOP_1), r'do not sum to one: give RENORMALIZE'),
    (mov(2), mov(3), r'2 experts there and 3 here: .* a multiple of it'),
    (mov(4), mov(2), r'4 experts there and 2 here'),
    (
      mov(2, router=routing.HashRouter),
      mov(4, router=routing.HashRouter),
      r'Under HashRouter, copies of an expert do not share',
    ),
    (
      LORA,
      at_sites(adapters.LoRA, rank=8),
      r'RANK is 4 there and 8 here: give --gin.RANK=4',
    ),
    (LORA, molora(2, alpha=1.0), r'ALPHA is 16.0 there and 1.0 here'),
    (IA3, {'key': adapters.IA3}, r'adapter at .*/mlp/wo_adapter, and this run'),
    (IA3, {}, r'this run has no adapters: give a methods/ file'),
  ],
)
def test_what_does_not_fit_is_refused(before, now, message, tmp_path):
  source, _ = write(tmp_path / 'source', before)
  with pytest.raises(UserError, match=message):
    read(source, now)


def test_decisions_grow_as_mixtures_do(tmp_path):
  def model(count, router=routing.SoftRouter):
    decision = functools.partial(
      routing.Decision, num_experts=count, router=router
    )
    config = dataclasses.replace(
      tiny.model({}).module.config,
      adapters=mov(count, router=routing.SharedRouter),
      decisions={'layer': decision},
    )
    return EncoderDecoderModel(Transformer(config))

  def begin(source, made):
    config = made.module.config
    return initial_adapters.read(source, config, unrolled(made))

  source, leaves = write_model(tmp_path / 'source', model(2))
  taken = begin(source, model(4))
  path = 'encoder/layers_0/layer_adapter/router/kernel'
  np.testing.assert_array_equal(
    taken.leaves[path], np.concatenate([leaves[path]] * 2, axis=1)
  )
  with pytest.raises(UserError, match='a multiple of it'):
    begin(source, model(3))
  with pytest.raises(UserError, match='Under TopKRouter, copies'):
    begin(source, model(4, router=routing.TopKRouter))


def test_what_trained_its_base_is_refused(tmp_path):
  made = tiny.model(IA3)
  method = describe_run(made.module.config, '.*')
  leaves = {**parameters.flatten(tiny.base_params()), **trained(made)}
  said = Description(method, BASE)
  folder = tmp_path / 'whole'
  exported.save(str(folder), parameters.unflatten(leaves), said, {})
  with pytest.raises(UserError, match='trained parameters of its base as'):
    read(str(folder), IA3)


def test_another_size_and_a_source_that_is_none_are_refused(tmp_path):
  source, _ = write(tmp_path / 'source', IA3)
  larger = tiny.model(IA3, layers=3)
  with pytest.raises(UserError, match='num_encoder_layers is 2 there and 3'):
    initial_adapters.read(source, larger.module.config, unrolled(larger))
  with pytest.raises(UserError, match='is not a run folder'):
    read(str(tmp_path / 'nothing'), IA3)
