"""Routers: weights, statistics, and mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import routing
from moe_lite.core.errors import UserError

B, L, H, D, E = 2, 4, 3, 5, 4


def run(router, x, mask=None, rngs=None, mutable=False, **context):
  context = routing.Context(mask, **context)
  variables = router.init(jax.random.key(0), x, 'embed', context)
  # Larger than at initialisation, so that experts differ.
  params = jax.tree.map(lambda kernel: kernel * 50, variables.get('params', {}))
  return params, router.apply(
    {'params': params},
    x,
    'embed',
    context,
    rngs=rngs,
    mutable=mutable,
  )


@pytest.fixture
def x():
  return jnp.asarray(np.random.default_rng(0).normal(size=(B, L, D)), 'f4')


def softmax(x):
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def test_soft_weights_are_the_softmax_of_the_projection(x):
  params, weights = run(routing.SoftRouter(num_experts=E), x)
  want = softmax(np.asarray(x) @ np.asarray(params['kernel']))
  np.testing.assert_allclose(weights, want, rtol=1e-5)


@pytest.mark.parametrize('renormalize', [True, False])
def test_top_k_keeps_the_likeliest(x, renormalize):
  router = routing.TopKRouter(num_experts=E, k=2, renormalize=renormalize)
  params, weights = run(router, x)
  p = softmax(np.asarray(x) @ np.asarray(params['kernel']))
  want = np.where(p >= np.sort(p)[..., -2:-1], p, 0)
  if renormalize:
    want /= want.sum(-1, keepdims=True)
  np.testing.assert_allclose(weights, want, rtol=1e-5)
  assert router.normalized == renormalize


@pytest.mark.parametrize('field', ['jitter', 'dropout', 'expert_dropout'])
def test_weights_are_random_only_where_a_stream_is_given(x, field):
  router = routing.SoftRouter(num_experts=E, **{field: 0.5})
  _, plain = run(routing.SoftRouter(num_experts=E), x)
  _, still = run(router, x)
  np.testing.assert_array_equal(still, plain)
  _, moved = run(router, x, rngs={'router': jax.random.key(1)})
  assert np.abs(moved - plain).max() > 1e-3


def test_temperature_divides_logits(x):
  params, weights = run(routing.SoftRouter(num_experts=E, temperature=0.5), x)
  want = softmax(2 * np.asarray(x) @ np.asarray(params['kernel']))
  np.testing.assert_allclose(weights, want, rtol=1e-5)


def test_expert_dropout_gives_a_rows_experts_to_the_others(x):
  x = jnp.tile(x, (50, 1, 1))
  router = routing.SoftRouter(num_experts=E, expert_dropout=0.4)
  _, plain = run(routing.SoftRouter(num_experts=E), x)
  _, weights = run(router, x, rngs={'router': jax.random.key(1)})
  kept = np.asarray(weights) > 0
  # One draw for all tokens of a row, and at least one expert is left.
  np.testing.assert_array_equal(kept, kept[:, :1].repeat(L, 1))
  assert kept.any(-1).all() and 0.5 < kept.mean() < 0.7
  want = np.where(kept, plain, 0)
  want /= want.sum(-1, keepdims=True)
  np.testing.assert_allclose(weights, want, rtol=1e-4)
  # Statistics and gradients stay finite.
  gradient = jax.grad(
    lambda x: run(
      router, x, rngs={'router': jax.random.key(1)}, mutable=['routing']
    )[1][1]['routing']['entropy'].sum()
  )(x)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize('heads', [(), (H,)])
def test_uniform_weights_are_equal(heads):
  x = jnp.zeros((B, L, *heads, D))
  mask = jnp.asarray([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
  params, (weights, sown) = run(
    routing.UniformRouter(num_experts=E), x, mask, mutable=['routing']
  )
  assert params == {}
  np.testing.assert_array_equal(weights, np.full((B, 1, E), 1 / E))
  sums = sown['routing']
  np.testing.assert_array_equal(sums['weight'], [[0.5] * E, [1] * E])
  np.testing.assert_allclose(sums['entropy'], [2 * np.log(E), 4 * np.log(E)])


def test_a_hash_deals_ids_to_experts():
  ids = jnp.arange(4000).reshape(2, 2000)
  x = jnp.zeros((2, 2000, H, D))
  dealt = []
  for seed in (0, 1):
    router = routing.HashRouter(num_experts=E, seed=seed)
    params, (weights, sown) = run(
      router, x, tokens=ids, mutable=['routing', 'routing_tokens']
    )
    assert params == {} and weights.shape == (2, 2000, E)
    assert set(np.unique(weights)) == {0, 1}
    np.testing.assert_array_equal(weights.sum(-1), 1)
    # Equal shares, to within four standard deviations.
    deviation = np.sqrt(1 / E * (1 - 1 / E) / ids.size)
    assert np.abs(np.mean(weights, (0, 1)) - 1 / E).max() < 4 * deviation
    np.testing.assert_array_equal(sown['routing']['entropy'], 0)
    np.testing.assert_array_equal(sown['routing_tokens']['weight'], weights)
    dealt.append(np.asarray(weights).argmax(-1))
  agreement = (dealt[0] == dealt[1]).mean()
  assert abs(agreement - 1 / E) < 0.05
  # The same id, the same expert, wherever it stands.
  _, twice = run(router, x, tokens=ids[::-1])
  np.testing.assert_array_equal(np.asarray(twice)[::-1].argmax(-1), dealt[1])


def test_weights_are_float32_also_for_bfloat16_activations(x):
  _, weights = run(routing.SoftRouter(num_experts=E), x.astype(jnp.bfloat16))
  assert weights.dtype == jnp.float32


@pytest.mark.parametrize('heads', [(), (H,)])
def test_statistics_leave_padding_out(heads):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(B, L, *heads, D)), 'f4')
  # What stands at a padded position must not matter, not even when infinite.
  x = x.at[0, 2:].set(jnp.inf)
  mask = jnp.asarray([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
  router = routing.TopKRouter(num_experts=E, k=2)
  params, (weights, sown) = run(router, x, mask, mutable=['routing'])
  kernel = np.asarray(params['kernel'])
  for example, tokens in ((0, slice(0, 2)), (1, slice(0, 4))):
    kept = (np.asarray(x)[example, tokens] @ kernel).reshape(-1, E)
    p = softmax(kept)
    heads_count = max(1, int(np.prod(heads)))
    got = {name: value[example] for name, value in sown['routing'].items()}
    np.testing.assert_allclose(
      got['probability'], p.sum(0) / heads_count, rtol=1e-5
    )
    mixed = np.asarray(weights)[example, tokens].reshape(-1, E)
    np.testing.assert_allclose(
      got['weight'], mixed.sum(0) / heads_count, rtol=1e-5
    )
    used = (np.asarray(weights)[example, tokens] > 0).reshape(-1, E)
    np.testing.assert_allclose(got['load'], used.sum(0) / heads_count)
    log_z = np.log(np.exp(kept).sum(-1))
    np.testing.assert_allclose(
      got['square_logsumexp'], np.square(log_z).sum() / heads_count, rtol=1e-5
    )
    assert got['tokens'] == tokens.stop


def test_initialisation_sows_nothing(x):
  variables = routing.SoftRouter(num_experts=E).init(
    jax.random.key(0), x, 'embed', routing.Context()
  )
  assert set(variables) == {'params', 'params_axes'}


@pytest.mark.parametrize(
  ('router', 'message'),
  [
    (lambda: routing.SoftRouter(num_experts=0), 'NUM_EXPERTS = 0'),
    (lambda: routing.SoftRouter(num_experts=2, jitter=1.5), 'jitter = 1.5'),
    (
      lambda: routing.SoftRouter(num_experts=2, dropout=-0.1),
      'ROUTER_DROPOUT = -0.1',
    ),
    (
      lambda: routing.SoftRouter(num_experts=2, expert_dropout=1),
      'EXPERT_DROPOUT = 1 must',
    ),
    (
      lambda: routing.SoftRouter(num_experts=2, temperature=0),
      'ROUTER_TEMPERATURE = 0 must',
    ),
    (lambda: routing.TopKRouter(num_experts=2, k=3), 'TOP_K = 3'),
    (lambda: routing.TopKRouter(num_experts=2, k='2'), "TOP_K = '2'"),
    (
      lambda: routing.SoftRouter(num_experts=2, temperature='1'),
      "ROUTER_TEMPERATURE = '1' must",
    ),
    (
      lambda: routing.SoftRouter(num_experts=2, dropout=True),
      'ROUTER_DROPOUT = True',
    ),
    (lambda: routing.HashRouter(num_experts=2, seed='a'), "HASH_SEED = 'a'"),
    (lambda: routing.SoftRouter(num_experts='2'), "NUM_EXPERTS = '2'"),
    (lambda: routing.TopKRouter(num_experts=2, k=0), 'TOP_K = 0'),
  ],
)
def test_mistakes_are_named(router, message):
  with pytest.raises(UserError, match=message):
    router()
