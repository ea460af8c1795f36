"""Decoding against brute force in numpy, on a toy model with a real cache.

The toy's logits depend on the example, on the position and on the whole history
of tokens, which it knows only through its cache: a decoder that feeds the wrong
token, or moves a beam without its cache, gives other sequences.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.models import decoding

B, T, V, EOS = 8, 4, 5, 1


# Logits [example, position, hash of history, V].
TABLE = np.random.default_rng(0).normal(size=(B, T + 1, 17, V), scale=1.5)


def hash_of(history):
  value = 0
  for token in history:
    value = (3 * value + token + 1) % 17
  return value


def toy(scan_form=False):
  """(tokens_to_logits, cache, cache_batch_axis) with hash as the memory."""
  logits = jnp.asarray(TABLE, jnp.float32)
  axis = int(scan_form)

  def spread(x):
    return jnp.stack([x, x]) if scan_form else x

  cache = {
    'index': spread(jnp.int32(0)),
    'memory': {
      'hash': spread(jnp.zeros((B,), jnp.int32)),
      'example': spread(jnp.arange(B)[:, None]),
    },
  }

  def first(x):
    return x[0] if scan_form else x

  def tokens_to_logits(ids, cache):
    index = first(cache['index'])
    before = first(cache['memory']['hash'])
    # The start token is not part of the history.
    after = jnp.where(index == 0, before, (3 * before + ids[:, 0] + 1) % 17)
    example = first(cache['memory']['example'])[:, 0]
    new = {
      'index': cache['index'] + 1,
      'memory': {'hash': spread(after), 'example': cache['memory']['example']},
    }
    return logits[example, index, after], new

  return tokens_to_logits, cache, axis


def log_softmax(x):
  return x - np.log(np.exp(x - x.max()).sum()) - x.max()


def log_p(example, history):
  return log_softmax(TABLE[example, len(history), hash_of(history)])


def pad(tokens):
  return list(tokens) + [0] * (T - len(tokens))


def decode(decoder, scan_form=False, **options):
  tokens_to_logits, cache, axis = toy(scan_form)
  run = jax.jit(
    functools.partial(
      decoder,
      tokens_to_logits=tokens_to_logits,
      eos_id=EOS,
      cache_batch_axis=axis,
      **options,
    )
  )
  return run(jnp.zeros((B, T), jnp.int32), cache)


def greedy_by_hand(example):
  history = []
  while len(history) < T and EOS not in history:
    history.append(int(np.argmax(log_p(example, history))))
  return pad(history)


@pytest.mark.parametrize('scan_form', [False, True])
def test_greedy_is_argmax_of_every_step(scan_form):
  ids = decode(decoding.greedy, scan_form)
  assert ids.tolist() == [greedy_by_hand(b) for b in range(B)]


def test_greedy_pads_after_eos_and_stops_when_all_ended():
  calls = []

  def tokens_to_logits(ids, cache):
    jax.debug.callback(lambda: calls.append(1))
    return jax.nn.one_hot(jnp.array([EOS, 3]), V), cache

  ids = decoding.greedy(jnp.zeros((2, 6), jnp.int32), {}, tokens_to_logits)
  assert ids.tolist() == [[EOS, 0, 0, 0, 0, 0], [3] * 6]
  jax.effects_barrier()
  assert len(calls) == 6
  calls.clear()
  decoding.greedy(jnp.zeros((2, 6), jnp.int32), {}, tokens_to_logits, eos_id=3)
  jax.effects_barrier()
  assert len(calls) == 6  # The first sequence never meets this EOS.


def finished(example):
  """Every sequence that ends within T, with its log-probability."""
  for n in range(1, T + 1):
    for history in itertools.product(
      [t for t in range(V) if t != EOS], repeat=n - 1
    ):
      tokens = [*history, EOS]
      score = sum(
        log_p(example, tokens[:i])[token] for i, token in enumerate(tokens)
      )
      yield tokens, score


@pytest.mark.parametrize('alpha, scan_form', [(0.0, False), (0.6, True)])
def test_a_beam_wide_enough_finds_the_best_of_all_sequences(alpha, scan_form):
  K = V**T
  ids, scores = decode(
    decoding.beam_search,
    scan_form,
    num_decodes=K,
    alpha=alpha,
    return_all=True,
  )
  for b in range(B):
    ranked = sorted(
      ((s / ((5 + len(t)) / 6) ** alpha, pad(t)) for t, s in finished(b)),
      reverse=True,
    )
    assert len(ranked) <= K
    count = min(len(ranked), K)
    np.testing.assert_allclose(
      scores[b, :count], [s for s, _ in ranked[:count]], rtol=2e-5
    )
    assert ids[b, :3].tolist() == [t for _, t in ranked[:3]]


def beam_by_hand(example, K, alpha):
  """The same algorithm, one example at a time, on lists."""
  live, done = [(0.0, [])], []
  for step in range(T):
    candidates = sorted(
      (
        (score + p, [*tokens, t])
        for score, tokens in live
        for t, p in enumerate(log_p(example, tokens))
      ),
      reverse=True,
    )[: 2 * K]
    penalty = ((5 + step + 1) / 6) ** alpha
    done += [(s / penalty, t) for s, t in candidates if t[-1] == EOS]
    done = sorted(done, reverse=True)[:K]
    live = [(s, t) for s, t in candidates if t[-1] != EOS][:K]
    bound = live[0][0] / ((5 + T + 1) / 6) ** alpha
    if len(done) == K and done[-1][0] > bound:
      break
  return done or live


@pytest.mark.parametrize('K', [1, 2, 4])
def test_narrow_beams_equal_beams_by_hand(K):
  ids, scores = decode(decoding.beam_search, num_decodes=K, return_all=True)
  for b in range(B):
    expected = beam_by_hand(b, K, 0.6)
    count = len(expected)
    assert ids[b, :count].tolist() == [pad(t) for _, t in expected]
    np.testing.assert_allclose(
      scores[b, :count], [s for s, _ in expected], rtol=1e-5
    )


def test_beam_search_returns_the_best_beam_alone_by_default():
  best = decode(decoding.beam_search, num_decodes=4)
  every, _ = decode(decoding.beam_search, num_decodes=4, return_all=True)
  assert best.tolist() == every[:, 0].tolist()


def test_beams_without_an_end_return_live_sequences():
  never_ends = jnp.array([0.0, -1e7, 1.0, 2.0, 0.5])

  def tokens_to_logits(ids, cache):
    return jnp.tile(never_ends, (ids.shape[0], 1)), cache

  ids, scores = decoding.beam_search(
    jnp.zeros((2, 3), jnp.int32),
    {},
    tokens_to_logits,
    num_decodes=2,
    return_all=True,
  )
  assert ids[:, 0].tolist() == [[3, 3, 3]] * 2
  np.testing.assert_allclose(
    scores[:, 0],
    3 * log_softmax(np.asarray(never_ends, np.float64))[3],
    rtol=1e-5,
  )


def test_live_sequences_take_the_places_that_no_finished_one_took():
  # Only the first token may end a sequence, so that one of two does.
  first = jnp.array([-1e7, 2.0, 1.0, 0.5, -1e7])
  later = jnp.array([-1e7, -1e7, 1.0, 0.5, -1e7])

  def tokens_to_logits(ids, cache):
    return jnp.where(ids == 0, first, later), cache

  ids, scores = decoding.beam_search(
    jnp.zeros((2, 2), jnp.int32),
    {},
    tokens_to_logits,
    num_decodes=2,
    return_all=True,
  )
  assert ids.tolist() == [[[1, 0], [2, 2]]] * 2
  begin, then = (log_softmax(np.asarray(x, np.float64)) for x in (first, later))
  np.testing.assert_allclose(scores[0, 1], begin[2] + then[2], rtol=1e-5)


def test_equal_beams_are_ranked_as_in_t5x():
  """Of equals, the one that stands later survives and comes first."""
  equal = jnp.array([-1e7, -1e7, 1.0, 1.0, 0.5, 0.4])

  def tokens_to_logits(ids, cache):
    return jnp.tile(equal, (ids.shape[0], 1)), cache

  ids, scores = decoding.beam_search(
    jnp.zeros((1, 2), jnp.int32),
    {},
    tokens_to_logits,
    num_decodes=2,
    return_all=True,
  )
  assert scores[0, 0] == scores[0, 1]
  assert ids.tolist() == [[[3, 2], [3, 3]]]


def test_cache_of_another_batch_is_refused():
  tokens_to_logits, cache, _ = toy(scan_form=True)
  with pytest.raises(ValueError, match='cache_batch_axis'):
    decoding.beam_search(
      jnp.zeros((B, T), jnp.int32), cache, tokens_to_logits, cache_batch_axis=0
    )


def draws(n=4000, **options):
  """Frequencies of the first sampled token, all examples alike."""
  logits = jnp.log(jnp.array([0.05, 0.1, 0.5, 0.3, 0.05]))

  def tokens_to_logits(ids, cache):
    return jnp.tile(logits, (ids.shape[0], 1)), cache

  ids = decoding.sample(
    jnp.zeros((n, 1), jnp.int32),
    {},
    tokens_to_logits,
    rng=jax.random.key(0),
    **options,
  )
  return np.bincount(np.asarray(ids)[:, 0], minlength=V) / n


@pytest.mark.parametrize(
  'options, expected',
  [
    ({}, [0.05, 0.1, 0.5, 0.3, 0.05]),
    ({'temperature': 0.5}, np.array([1, 4, 100, 36, 1]) / 142),
    ({'top_k': 2}, [0, 0, 0.625, 0.375, 0]),
    ({'top_p': 0.4}, [0, 0, 1, 0, 0]),
    ({'top_p': 0.85}, [0, 1 / 9, 5 / 9, 3 / 9, 0]),
    ({'top_k': 3, 'top_p': 0.5}, [0, 0, 1, 0, 0]),
  ],
)
def test_sampling_draws_from_the_truncated_distribution(options, expected):
  np.testing.assert_allclose(draws(**options), expected, atol=0.025)


def test_sampling_is_a_function_of_its_key_and_stops_at_eos():
  ids = [
    decode(decoding.sample, rng=jax.random.key(key)).tolist()
    for key in (0, 0, 1)
  ]
  assert ids[0] == ids[1] != ids[2]
  for row in ids[0] + ids[2]:
    if EOS in row:
      assert not any(row[row.index(EOS) + 1 :])


def test_sampling_at_low_temperature_is_greedy():
  ids = decode(decoding.sample, rng=jax.random.key(0), temperature=1e-3)
  assert ids.tolist() == decode(decoding.greedy).tolist()


@pytest.mark.parametrize(
  'decoder, options, message',
  [
    (decoding.sample, {}, 'key'),
    (decoding.sample, {'rng': 0, 'temperature': 0.0}, 'temperature = 0.0'),
    (decoding.sample, {'rng': 0, 'top_p': 0.0}, 'top_p = 0.0'),
    (decoding.sample, {'rng': 0, 'top_k': -1}, 'top_k = -1'),
    (decoding.beam_search, {'num_decodes': 0}, 'num_decodes = 0'),
  ],
)
def test_options_out_of_range_are_refused(decoder, options, message):
  with pytest.raises(UserError, match=message):
    decode(decoder, **options)
