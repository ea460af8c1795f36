"""Decoding a batch of sequences, one token at a time, from a cache.

Every decoding function has the same first arguments, so
`models.EncoderDecoderModel.predict_batch` and gin can exchange them:

    decode(inputs, cache, tokens_to_logits, eos_id=1, cache_batch_axis=0,
           rng=None, ...its own options) -> int32 [B, T]

* `inputs`: int32 [B, T]. Its shape gives the batch size and the length T of the
  outputs. Column 0 holds the start tokens, which are 0 in T5. Nothing else of
  it is read.
* `cache`: the tree of arrays before the first step. A leaf has the batch on
  axis `cache_batch_axis`. A leaf without such an axis belongs to all sequences.
  The cache index is such a leaf: it is a scalar in the loop form, and [layers]
  in the scan form.
* `tokens_to_logits`: maps (ids int32 [N, 1], cache) to (logits [N, V], cache).
  N is B, and B * K in a beam search. Sequence b * K + k is then beam k of
  example b. Whatever else the function holds for each example, such as the
  encoder's output, must be repeated K times along the batch.
* `eos_id`: the id that ends a sequence. After it, the output is 0. An output
  whose logits are not finite has `NOT_FINITE` in it: NaN would pass for a
  choice.
* `cache_batch_axis`: 0 in the loop form. 1 in the scan form, where axis 0 is
  layers.
* `rng`: a key. Only sampling reads it.

Shapes are static. The loops are `lax.while_loop`, and end as soon as every
sequence has ended. This module needs only JAX.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from moe_lite.core.errors import UserError
from moe_lite.core.types import Array, Tree

EOS_ID = 1
"""The id that ends a sequence, as in T5's vocabulary."""
NOT_FINITE = -1
"""In place of an id that was chosen by logits that are NaN or infinite."""
# A score far below any sum of log-probabilities. It is finite, because inf -
# inf is NaN.
_IMPOSSIBLE = np.float32(-1e9)

TokensToLogits = Callable[[Array, Tree], tuple[Array, Tree]]
"""Decodes one position; see the module."""


def greedy(
  inputs: Array,
  cache: Tree,
  tokens_to_logits: TokensToLogits,
  eos_id: int = EOS_ID,
  cache_batch_axis: int = 0,
  rng: Array | None = None,
) -> Array:
  """Takes the likeliest token at every step. Ties go to the lowest id.

  The arguments are described in the module.

  Returns:
    int32 [B, T].
  """
  del cache_batch_axis, rng  # They are arguments of every decoding function.
  return _extend(
    inputs,
    cache,
    tokens_to_logits,
    eos_id,
    lambda logits, step: jnp.argmax(logits, axis=-1),
  )


def sample(
  inputs: Array,
  cache: Tree,
  tokens_to_logits: TokensToLogits,
  eos_id: int = EOS_ID,
  cache_batch_axis: int = 0,
  rng: Array | None = None,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
) -> Array:
  """Draws every token from softmax(logits / temperature).

  The module describes the first arguments.

  Args:
    rng: the key of the draws. It is required.
    temperature: a number above 0. Close to 0, the result is close to `greedy`.
    top_k: draw only among the k likeliest tokens. 0 means all tokens.
    top_p: draw only among the likeliest tokens, as few of them as have a total
      probability of at least top_p, at this temperature and after `top_k`
      (nucleus sampling, Holtzman et al., arXiv 1904.09751). 1 means all tokens.

  Returns:
    int32 [B, T].

  Raises:
    UserError: if an option is out of its range, or if there is no key.
  """
  del cache_batch_axis
  if rng is None:
    raise UserError('Sampling needs a random key: pass rng=jax.random.key(0).')
  if temperature <= 0:
    raise UserError(
      f'temperature = {temperature} must be above 0. For the likeliest token '
      'at every step, use decoding.greedy.'
    )
  if top_k < 0 or not 0 < top_p <= 1:
    raise UserError(
      f'top_k = {top_k} must be 0 (all tokens) or more, and top_p = {top_p} '
      'must lie in (0, 1].'
    )

  def choose(logits: Array, step: Array) -> Array:
    kept = _truncate(logits / temperature, top_k, top_p)
    return jax.random.categorical(jax.random.fold_in(rng, step), kept)

  return _extend(inputs, cache, tokens_to_logits, eos_id, choose)


def beam_search(
  inputs: Array,
  cache: Tree,
  tokens_to_logits: TokensToLogits,
  eos_id: int = EOS_ID,
  cache_batch_axis: int = 0,
  rng: Array | None = None,
  num_decodes: int = 1,
  alpha: float = 0.6,
  return_all: bool = False,
) -> Array | tuple[Array, Array]:
  """Searches for the likeliest whole sequences with K beams.

  The module describes the first arguments.

  The search means the same as T5X's `decoding.beam_search`. A finished sequence
  of n tokens, EOS included, has the score log p / ((5 + n) / 6)^alpha (Wu et
  al., arXiv 1609.08144, equation 14). The search of an example ends when no
  live sequence can beat the worst of K finished sequences. If fewer than K
  sequences of an example have finished within T tokens, the best live sequences
  take the places that are left. They are scored by log p. (T5X returns live
  sequences only if none has finished, and else leaves those places empty.)

  Args:
    num_decodes: the number of beams, K. The name is T5X's.
    alpha: the exponent of the length penalty. 0 means no penalty.
    return_all: whether to return all beams instead of the best.

  Returns:
    int32 [B, T]. With `return_all`, int32 [B, K, T] and the scores, float32
    [B, K]: finished sequences first, and the best of each kind first.

  Raises:
    UserError: if `num_decodes` is less than 1.
  """
  del rng
  if num_decodes < 1:
    raise UserError(f'num_decodes = {num_decodes} must be at least 1.')
  B, T = inputs.shape
  K = num_decodes
  state = _Beams(
    step=jnp.int32(0),
    # All beams start equal, so at first only the first beam may be extended.
    live_scores=jnp.full((B, K), _IMPOSSIBLE).at[:, 0].set(0.0),
    live=jnp.zeros((B, K, T), jnp.int32),
    done_scores=jnp.full((B, K), _IMPOSSIBLE),
    done=jnp.zeros((B, K, T), jnp.int32),
    is_done=jnp.zeros((B, K), bool),
    cache=_per_sequence(
      lambda x, axis: jnp.repeat(x, K, axis), cache, cache_batch_axis, B
    ),
  )

  def is_unfinished(state: _Beams) -> Array:
    # Log-probabilities only fall. The best score that a live sequence can still
    # reach is therefore its present log-probability, divided by the penalty of
    # the greatest length. T5X counts the start token in that length.
    bound = state.live_scores.max(1) / _length_penalty(T + 1, alpha)
    worst = jnp.where(state.is_done, state.done_scores, _IMPOSSIBLE).min(1)
    return (state.step < T) & ~jnp.all(worst > bound)

  def step(state: _Beams) -> _Beams:
    last = jnp.where(
      state.step == 0,
      jnp.broadcast_to(inputs[:, None, :1], (B, K, 1)),
      lax.dynamic_slice_in_dim(state.live, state.step - 1, 1, axis=2),
    )
    logits, cache = tokens_to_logits(last.reshape(B * K, 1), state.cache)
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    V = log_p.shape[-1]
    scores = state.live_scores[:, :, None] + log_p.reshape(B, K, V)
    # At most K of these 2K sequences end here, so at least K live ones remain.
    scores, index = lax.top_k(scores.reshape(B, K * V), min(2 * K, K * V))
    beam, token = index // V, (index % V).astype(jnp.int32)
    longer = jnp.take_along_axis(state.live, beam[:, :, None], axis=1)
    longer = lax.dynamic_update_slice_in_dim(
      longer, token[:, :, None], state.step, axis=2
    )
    ends = token == eos_id

    live_scores, kept = _worst_first(jnp.where(ends, _IMPOSSIBLE, scores), K)
    live = jnp.take_along_axis(longer, kept[:, :, None], axis=1)
    source = jnp.take_along_axis(beam, kept, axis=1)
    source = (source + K * jnp.arange(B)[:, None]).reshape(B * K)
    cache = _per_sequence(
      lambda x, axis: jnp.take(x, source, axis), cache, cache_batch_axis, B * K
    )

    final = scores / _length_penalty(state.step + 1, alpha)
    final = jnp.where(ends, final, _IMPOSSIBLE)
    done_scores, best = _worst_first(
      jnp.concatenate([state.done_scores, final], axis=1), K
    )
    done = jnp.concatenate([state.done, longer], axis=1)
    is_done = jnp.concatenate([state.is_done, ends], axis=1)
    return _Beams(
      step=state.step + 1,
      live_scores=live_scores,
      live=live,
      done_scores=done_scores,
      done=jnp.take_along_axis(done, best[:, :, None], axis=1),
      is_done=jnp.take_along_axis(is_done, best, axis=1),
      cache=cache,
    )

  state = lax.while_loop(is_unfinished, step, state)
  # The last places are those of finished sequences. With n of them, the n worst
  # live sequences are left out.
  count = state.is_done.sum(1, keepdims=True)
  order = (jnp.arange(K) + count) % K
  live = jnp.take_along_axis(state.live, order[:, :, None], axis=1)
  live_scores = jnp.take_along_axis(state.live_scores, order, axis=1)
  ids = jnp.where(state.is_done[:, :, None], state.done, live)
  scores = jnp.where(state.is_done, state.done_scores, live_scores)
  # Scores are sums, so that a beam keeps what was not finite.
  ids = jnp.where(jnp.isfinite(scores)[:, :, None], ids, NOT_FINITE)
  ids, scores = ids[:, ::-1], scores[:, ::-1]
  return (ids, scores) if return_all else ids[:, 0]


class _Beams(NamedTuple):
  """The state of a beam search. Sequences are ordered from worst to best.

  Among equal scores the first counts as the better one, so this order decides
  which of them survive. It is T5X's.
  """

  step: Array
  live_scores: Array
  live: Array
  done_scores: Array
  done: Array
  is_done: Array
  cache: Tree


def _extend(
  inputs: Array,
  cache: Tree,
  tokens_to_logits: TokensToLogits,
  eos_id: int,
  choose: Callable[[Array, Array], Array],
) -> Array:
  """Extends sequences token by token until EOS or length T.

  Args:
    inputs, cache, tokens_to_logits, eos_id: see the module.
    choose: maps (logits [B, V], step) to the next ids [B].

  Returns:
    int32 [B, T].
  """
  B, T = inputs.shape

  def is_unfinished(state):
    step, _, _, ended, _ = state
    return (step < T) & ~jnp.all(ended)

  def step(state):
    step, last, ids, ended, cache = state
    logits, cache = tokens_to_logits(last, cache)
    logits = logits.astype(jnp.float32)
    token = choose(logits, step).astype(jnp.int32)
    is_finite = jnp.isfinite(logits).all(-1)
    token = jnp.where(is_finite, token, NOT_FINITE)
    token = jnp.where(ended, 0, token)
    ids = lax.dynamic_update_slice_in_dim(ids, token[:, None], step, axis=1)
    ended |= (token == eos_id) | (token == NOT_FINITE)
    return step + 1, token[:, None], ids, ended, cache

  state = (
    jnp.int32(0),
    inputs[:, :1].astype(jnp.int32),
    jnp.zeros((B, T), jnp.int32),
    jnp.zeros((B,), bool),
    cache,
  )
  return lax.while_loop(is_unfinished, step, state)[2]


def _truncate(logits: Array, top_k: int, top_p: float) -> Array:
  """Makes the logits of tokens that `sample` may not draw impossible."""
  if 0 < top_k < logits.shape[-1]:
    least = lax.top_k(logits, top_k)[0][..., -1:]
    logits = jnp.where(logits < least, _IMPOSSIBLE, logits)
  if top_p < 1:
    ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    p = jax.nn.softmax(ordered)
    # A token is kept if the likelier tokens have not yet reached top_p. At
    # least one token is therefore kept.
    is_kept = jnp.cumsum(p, axis=-1) - p < top_p
    least = jnp.where(is_kept, ordered, jnp.inf).min(-1, keepdims=True)
    logits = jnp.where(logits < least, _IMPOSSIBLE, logits)
  return logits


def _worst_first(scores: Array, k: int) -> tuple[Array, Array]:
  """Returns the k best scores of each row, and their indices."""
  scores, index = lax.top_k(scores, k)
  return scores[:, ::-1], index[:, ::-1]


def _length_penalty(length: Array | int, alpha: float) -> Array:
  return jnp.power((5.0 + length) / 6.0, alpha)


def _per_sequence(
  change: Callable[[Array, int], Array], cache: Tree, axis: int, size: int
) -> Tree:
  """Applies `change(leaf, axis)` to the leaves that have a batch axis.

  Args:
    change: maps a leaf and its batch axis to a new leaf.
    cache: the tree of leaves.
    axis: the batch axis.
    size: the size that the batch axis must have.
  """

  def leaf(x: Array) -> Array:
    if x.ndim <= axis:
      return x
    if x.shape[axis] != size:
      raise ValueError(
        f'A cache leaf of shape {x.shape} does not have {size} sequences on '
        f'axis {axis}: cache_batch_axis must be 0 in the loop form and 1 in '
        'the scan form.'
      )
    return change(x, axis)

  return jax.tree.map(leaf, cache)
