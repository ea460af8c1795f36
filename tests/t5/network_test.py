"""The network: its forms agree, packing separates, the tree is written down."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeParamShapeError

from moe_lite import adapters
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer
from tests import tiny

MOV = functools.partial(adapters.MoV, num_experts=3)
MOLORA = functools.partial(adapters.MoLoRA, num_experts=3, rank=2)


def config(**changes):
  return T5Config(
    **{
      'vocab_size': 64,
      'emb_dim': 16,
      'num_heads': 2,
      'head_dim': 4,
      'mlp_dim': 24,
      'num_encoder_layers': 2,
      'num_decoder_layers': 3,
      'adapters': {'key': MOV, 'wo': MOLORA},
      **changes,
    }
  )


def build(**changes):
  return EncoderDecoderModel(Transformer(config(**changes)))


@pytest.fixture(scope='module')
def params():
  """Random, adapters too, in the loop form."""
  shapes = build().abstract_variables()['params']
  leaves, structure = jax.tree.flatten(shapes)
  rng = np.random.default_rng(0)
  return jax.tree.unflatten(
    structure,
    [(rng.normal(size=x.shape) * 0.3).astype('f4') for x in leaves],
  )


def rows(*pairs, length=12):
  """A packed batch of one row from (input ids, target ids) pairs."""
  batch = {}
  for stream, which in (('encoder', 0), ('decoder', 1)):
    ids = np.zeros((1, length), 'i4')
    segments, positions = ids.copy(), ids.copy()
    at = 0
    for number, pair in enumerate(pairs, start=1):
      part = slice(at, at + len(pair[which]))
      ids[0, part] = pair[which]
      segments[0, part] = number
      positions[0, part] = np.arange(len(pair[which]))
      at = part.stop
    name = 'input' if stream == 'encoder' else 'target'
    batch[f'{stream}_{name}_tokens'] = ids
    batch[f'{stream}_segment_ids'] = segments
    batch[f'{stream}_positions'] = positions
  targets = batch['decoder_target_tokens']
  shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
  batch['decoder_input_tokens'] = np.where(
    batch['decoder_positions'] > 0, shifted, 0
  )
  batch['decoder_loss_weights'] = (targets > 0).astype('f4')
  return {name: jnp.asarray(x) for name, x in batch.items()}


FIRST = ([5, 6, 7, 8], [9, 10, 1])
SECOND = ([11, 12], [13, 14, 15, 1])


@functools.cache
def logits_fn(**form):
  return jax.jit(build(**form).logits)


@functools.cache
def gradient_fn(**form):
  model = build(**form)
  return jax.jit(jax.grad(lambda p, batch: model.loss_fn(p, batch)[0]))


@pytest.mark.parametrize(
  ('scan_layers', 'remat', 'attention'),
  [
    pytest.param(True, 'none', 'blocks', marks=pytest.mark.slow),
    (True, 'minimal', 'blocks'),
    (False, 'full', 'plain'),
    pytest.param(False, 'none', 'blocks', marks=pytest.mark.slow),
  ],
)
def test_forms_agree(params, scan_layers, remat, attention):
  batch = rows(FIRST, SECOND)
  form = {'scan_layers': scan_layers, 'remat': remat, 'attention': attention}
  own = parameters.like_network(params, scan_layers)
  np.testing.assert_allclose(
    logits_fn(**form)(own, batch),
    logits_fn()(params, batch),
    atol=1e-5,
  )
  want = parameters.flatten(gradient_fn()(params, batch))
  got = gradient_fn(**form)(own, batch)
  got = parameters.flatten(parameters.unstack_layers(got))
  assert got.keys() == want.keys()
  for path in want:
    np.testing.assert_allclose(got[path], want[path], atol=1e-5, err_msg=path)


def test_packed_examples_do_not_see_each_other(params):
  both = logits_fn()(params, rows(FIRST, SECOND))[0]
  alone = logits_fn()(params, rows(FIRST))[0]
  np.testing.assert_allclose(both[:3], alone[:3], atol=1e-5)
  alone = logits_fn()(params, rows(SECOND))[0]
  np.testing.assert_allclose(both[3:7], alone[:4], atol=1e-5)


def test_dropout_needs_its_stream_and_moves_logits(params):
  model = build(dropout_rate=0.5)
  batch = rows(FIRST)
  still = model.logits(params, batch)
  np.testing.assert_allclose(still, logits_fn()(params, batch), atol=1e-5)
  moved = model.logits(params, batch, {'dropout': jax.random.key(0)})
  assert np.abs(moved - still).max() > 1e-2


def test_the_last_dropout_of_the_encoder_differs_by_position(params):
  """As in T5X, where every other dropout is the same at all positions."""
  ids = jnp.asarray([[5, 6, 7, 8]])
  network = Transformer(config(dropout_rate=0.5))
  encoded = network.apply(
    {'params': params},
    ids,
    rngs={'dropout': jax.random.key(0)},
    method='encode',
  )
  dropped = np.asarray(encoded[0] == 0)
  assert 0.2 < dropped.mean() < 0.8
  assert len({tuple(row) for row in dropped}) == 4


@pytest.mark.parametrize('scan_layers', [False, True])
def test_routing_statistics_of_every_router(params, scan_layers):
  model = build(scan_layers=scan_layers)
  own = parameters.like_network(params, scan_layers)
  statistics = jax.jit(model.routing_batch)(own, rows(FIRST))
  found = parameters.flatten(statistics)
  names = {path.rpartition('/')[0] for path in found}
  sites = 'key_adapter', 'wo_adapter'
  assert all(any(site in name for site in sites) for name in names)
  per_layer = 2 if scan_layers else 2 * 2 + 3 * 3
  assert len(names) == (5 if scan_layers else per_layer)
  for name in names:
    tokens = found[f'{name}/tokens']
    want = (
      len(FIRST[0])
      if 'encoder/' in name or ('encoder_decoder_attention' in name)
      else len(FIRST[1])
    )
    np.testing.assert_array_equal(np.unique(tokens), [want], err_msg=name)
    np.testing.assert_allclose(
      found[f'{name}/probability'].sum(-1), tokens, rtol=1e-5
    )


def test_routing_is_empty_without_routers():
  model = build(adapters={'key': adapters.IA3})
  shapes = jax.eval_shape(
    model.routing_batch, model.abstract_variables()['params'], rows(FIRST)
  )
  assert shapes == {}


def describe(model):
  """One line for each leaf: path, shape, axes, whether it trains."""
  variables = model.abstract_variables()
  axes = parameters.flatten(partitioning.axis_names(variables['params_axes']))
  trainable, _ = parameters.split(
    variables['params'], parameters.TRAINABLE_ADAPTERS
  )
  trains = parameters.flatten(trainable)
  return [
    f'{path} {list(leaf.shape)} {",".join(axes[path])}'
    + (' trains' if path in trains else '')
    for path, leaf in sorted(parameters.flatten(variables['params']).items())
  ]


def test_the_tree_of_a_scanned_network():
  model = build(
    scan_layers=True, adapters={'key': MOV, 'query': MOLORA, 'wo': adapters.IA3}
  )
  lines = [line for line in describe(model) if 'encoder/' in line[:8]]
  assert lines == [
    'encoder/encoder_norm/scale [16] embed',
    'encoder/layers/attention/key/kernel [16, 2, 8] embed,layers,joined_kv',
    'encoder/layers/attention/key_adapter/router/kernel [4, 2, 3]'
    ' kv,layers,expert trains',
    'encoder/layers/attention/key_adapter/scale [3, 2, 2, 4]'
    ' expert,layers,heads,kv trains',
    'encoder/layers/attention/out/kernel [8, 2, 16] joined_kv,layers,embed',
    'encoder/layers/attention/query/kernel [16, 2, 8] embed,layers,joined_kv',
    'encoder/layers/attention/query_adapter/a [3, 2, 16, 2]'
    ' expert,layers,embed,rank trains',
    'encoder/layers/attention/query_adapter/b [3, 2, 2, 8]'
    ' expert,layers,rank,joined_kv trains',
    'encoder/layers/attention/query_adapter/router/kernel [16, 2, 3]'
    ' embed,layers,expert trains',
    'encoder/layers/attention/value/kernel [16, 2, 8] embed,layers,joined_kv',
    'encoder/layers/mlp/wi_0/kernel [16, 2, 24] embed,layers,mlp',
    'encoder/layers/mlp/wi_1/kernel [16, 2, 24] embed,layers,mlp',
    'encoder/layers/mlp/wo/kernel [24, 2, 16] mlp,layers,embed',
    'encoder/layers/mlp/wo_adapter/scale [16, 2] embed,layers trains',
    'encoder/layers/pre_attention_layer_norm/scale [16, 2] embed,layers',
    'encoder/layers/pre_mlp_layer_norm/scale [16, 2] embed,layers',
    'encoder/relpos_bias/rel_embedding [2, 32] heads,relpos_buckets',
  ]


def test_t5_1_0_ties_its_logits_and_has_one_factor():
  lines = describe(
    build(
      mlp_activations=('relu',),
      logits_via_embedding=True,
      adapters={'wi': adapters.IA3},
    )
  )
  assert not any('logits_dense' in line for line in lines)
  assert 'encoder/layers_0/mlp/wi/kernel [16, 24] embed,mlp' in lines


def test_the_program_of_a_scan_does_not_grow_with_depth():
  def size(layers):
    model = build(
      scan_layers=True, num_encoder_layers=layers, num_decoder_layers=layers
    )
    shapes = model.abstract_variables()['params']
    return len(jax.jit(model.logits).lower(shapes, rows(FIRST)).as_text())

  assert size(24) < 1.1 * size(2)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'adapters': {'keys': MOV}}, "'keys'.*Did you mean 'key'"),
    ({'adapters': {'key': 3}}, 'not an adapter'),
    ({'adapters': None}, 'gin/methods'),
    ({'adapters': {'wi_0': MOV}, 'mlp_activations': ('relu',)}, "'wi_0'"),
    ({'remat': 'some'}, "REMAT = 'some'"),
    ({'emb_dim': 0}, 'emb_dim = 0'),
    ({'mlp_activations': ('gelo', 'linear')}, "'gelo'.*gelu"),
  ],
)
def test_mistakes_are_named(changes, message):
  with pytest.raises(UserError, match=message):
    config(**changes)


def test_parameters_of_another_shape_are_named():
  leaves = parameters.flatten(tiny.base_params())
  leaves['decoder/decoder_norm/scale'] = np.ones(5)
  with pytest.raises(
    ScopeParamShapeError, match='"scale".*decoder/decoder_norm'
  ):
    tiny.model({}).logits(parameters.unflatten(leaves), tiny.batch())
