"""The model of answer choices against one decoding of one choice at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.models.choice_model import ChoiceModel
from moe_lite.models.model import EncoderDecoderModel
from tests import tiny

IA3 = dict.fromkeys(('key', 'value', 'intermediate'), adapters.IA3)


@functools.cache
def made(scan_layers=False, **weights):
  """The model, and parameters whose adapters are not the identity."""
  network = tiny.model(IA3, scan_layers).module
  model = ChoiceModel(network, **weights)
  drawn = tiny.model(IA3).get_initial_variables(
    jax.random.key(0),
    dict.fromkeys(('encoder_input_tokens', 'decoder_input_tokens'), (1, 8)),
  )['params']
  noise = np.random.default_rng(1)
  moved = {
    path: x + noise.normal(0, 0.1, x.shape).astype('f4')
    for path, x in parameters.flatten(drawn).items()
    if parameters.is_adapter(path)
  }
  params = parameters.merge(parameters.unflatten(moved), tiny.base_params())
  params = parameters.like_network(params, scan_layers)
  return model, jax.tree.map(jnp.asarray, params)


def rows_of(batch, choice):
  """The batch with one choice of each input, as other models take it."""
  names = ('decoder_input_tokens', 'decoder_target_tokens')
  return {
    'encoder_input_tokens': batch['encoder_input_tokens'],
    **{name: batch[name][:, choice] for name in names},
  }


def one_by_one(model, params, batch):
  """The three terms in the whole batch, encoding every pair anew."""
  means, unlikely = [], []
  count = batch['decoder_target_tokens'].shape[1]
  for choice in range(count):
    rows = rows_of(batch, choice)
    targets = rows['decoder_target_tokens']
    log_p = jax.nn.log_softmax(model.logits(params, rows))
    log_p = jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    is_token = targets > 0
    lengths = is_token.sum(-1)
    mean = (log_p * is_token).sum(-1) / jnp.maximum(lengths, 1)
    means.append(jnp.where(lengths > 0, mean, -jnp.inf))
    wrong = is_token & (batch['choice_is_right'][:, choice, None] == 0)
    unlikely.append((-jnp.log1p(-jnp.exp(log_p)) * wrong, wrong))
  means = jnp.stack(means, 1)
  total = sum(x.sum(-1) for x, _ in unlikely)
  number = sum(wrong.sum(-1) for _, wrong in unlikely)
  right = batch['choice_is_right'].argmax(-1)
  log_shares = jax.nn.log_softmax(means)
  rows = jnp.arange(len(right))
  return (
    -means[rows, right].mean(),
    (total / number).mean(),
    -log_shares[rows, right].mean(),
  )


@pytest.mark.parametrize('scan_layers', [False, True])
def test_it_is_what_one_choice_after_another_gives(scan_layers):
  model, params = made(scan_layers, unlikelihood=0.5, choice_loss=2.0)
  loss, metrics = jax.jit(model.loss_fn)(params, tiny.choice_batch())
  terms = jax.jit(functools.partial(one_by_one, model))(
    params, tiny.choice_batch()
  )
  names = ('likelihood_loss', 'unlikelihood_loss', 'choice_loss')
  np.testing.assert_allclose([metrics[x] for x in names], terms, 1e-5, 1e-6)
  likely, unlikely, choice = terms
  np.testing.assert_allclose(loss, likely + 0.5 * unlikely + 2 * choice, 1e-5)
  np.testing.assert_allclose(metrics['loss'] / metrics['weight_sum'], loss)
  assert metrics.keys() <= model.reductions.keys()


def test_its_choice_is_that_of_ranking():
  model, params = made()
  _, metrics = jax.jit(model.loss_fn)(params, tiny.choice_batch(8))
  rows = tiny.choice_batch(8)
  scores = jax.jit(model.score_choices)(
    params,
    jax.jit(model.encode)(params, rows),
    rows,
    rows['decoder_input_tokens'],
    rows['decoder_target_tokens'],
  )
  lengths = (rows['decoder_target_tokens'] > 0).sum(-1)
  means = np.where(lengths > 0, scores / np.maximum(lengths, 1), -np.inf)
  right = rows['choice_is_right'].argmax(-1)
  share = (means.argmax(-1) == right).mean()
  np.testing.assert_allclose(metrics['chosen'], share)
  assert 0 < share < 1


def test_gradients_are_those_of_one_choice_after_another():
  model, params = made()
  trainable, base = parameters.split(params, '.*_adapter/.*')
  rows = tiny.choice_batch()
  merged = lambda x: parameters.merge(x, base)
  ours = jax.jit(jax.grad(lambda x: model.loss_fn(merged(x), rows)[0]))(
    trainable
  )
  want = jax.jit(jax.grad(lambda x: sum(one_by_one(model, merged(x), rows))))(
    trainable
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
    ours,
    want,
  )
  assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(ours))


def test_a_single_choice_has_the_usual_loss():
  model, params = made()
  single = {
    name: x[:, :1] if x.ndim > 2 else x
    for name, x in tiny.choice_batch().items()
  } | {'choice_is_right': np.ones((4, 1), np.int32)}
  usual = EncoderDecoderModel(model.module, z_loss=0.0)
  usual.loss_normalizing_factor = 'AVERAGE_PER_SEQUENCE'
  want, _ = jax.jit(usual.loss_fn)(params, rows_of(single, 0))
  loss, _ = jax.jit(model.loss_fn)(params, single)
  np.testing.assert_allclose(loss, want, rtol=1e-5)


def test_parts_of_a_batch_add_up():
  model, params = made()
  whole = tiny.choice_batch(8)
  normalizer = model.loss_normalizer(whole)
  parts = [{n: x[i : i + 4] for n, x in whole.items()} for i in (0, 4)]
  of_rows = jax.jit(model.loss_fn)
  found = [of_rows(params, part, normalizer=normalizer) for part in parts]
  loss, metrics = of_rows(params, whole)
  np.testing.assert_allclose(sum(x for x, _ in found), loss, rtol=1e-5)
  for name, value in metrics.items():
    np.testing.assert_allclose(sum(x[name] for _, x in found), value, rtol=1e-5)


def test_dropout_differs_between_choices():
  config = tiny.model(IA3).module.config
  network = tiny.model(IA3).module.clone(
    config=type(config)(**{**vars(config), 'dropout_rate': 0.5})
  )
  model, (_, params) = ChoiceModel(network), made()
  rows = tiny.choice_batch(1, 2)
  for name in ('decoder_input_tokens', 'decoder_target_tokens'):
    rows[name][:, 1] = rows[name][:, 0]
  chosen = jax.jit(lambda key: model.loss_fn(params, rows, {'dropout': key})[1])
  keys = jax.random.split(jax.random.key(0), 2)
  first, other = (float(chosen(key)['choice_loss']) for key in keys)
  # Equal choices would have equal scores without it.
  assert abs(first - np.log(2)) > 1e-3 and first != other


@pytest.mark.parametrize('name', ['unlikelihood', 'choice_loss'])
def test_weights_are_numbers_of_at_least_zero(name):
  with pytest.raises(UserError, match=f'{name.upper()} = -1'):
    ChoiceModel(tiny.model().module, **{name: -1})


def test_routers_see_the_tokens_of_all_choices():
  sites = {'query': tiny.MOV['key']}
  model = ChoiceModel(
    tiny.model(sites).module, load_balance=1.0, routing_metrics=True
  )
  shapes = dict.fromkeys(
    ('encoder_input_tokens', 'decoder_input_tokens'), (1, 8)
  )
  params = model.get_initial_variables(jax.random.key(0), shapes)['params']
  rows = tiny.choice_batch()
  normalizer = model.loss_normalizer(rows)
  needed = jax.jit(model.routing_needed)(params, rows)
  loss, metrics = jax.jit(model.loss_fn)(params, rows, None, normalizer, needed)
  balance = metrics['load_balance']
  assert float(balance) >= 1 - 1e-5
  np.testing.assert_allclose(loss, metrics['loss'] / 4 + balance, rtol=1e-5)
  targets, inputs = rows['decoder_target_tokens'], rows['encoder_input_tokens']
  counts = {
    path: float(x)
    for path, x in parameters.flatten(metrics['routing']).items()
    if path.endswith('/tokens')
  }
  heads = 2  # A router of attention decides for each head.
  for path, count in counts.items():
    tokens = (inputs if path.startswith('encoder') else targets) > 0
    assert count in (tokens.sum(), heads * tokens.sum()), path
  assert len(counts) == 4  # Two layers, and self and cross attention.


def test_means_over_tokens_of_a_batch_are_refused():
  with pytest.raises(UserError, match="give 'AVERAGE_PER_SEQUENCE'"):
    ChoiceModel(tiny.model().module, loss_normalizing_factor=None)


def test_a_batch_without_choices_is_refused():
  with pytest.raises(UserError, match='ChoiceDataset'):
    ChoiceModel(tiny.model().module).loss_normalizer(tiny.batch())
