"""Our layers under the names and signatures of `t5x.examples.t5.layers`."""

import functools
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze

from moe_lite.adapters.adapter import joined
from moe_lite.routing.context import Context
from moe_lite.t5 import biases, layers, network, stacks
from moe_lite.t5.attention import Visible, same_segment
from moe_lite.t5.config import T5Config


def _config(**fields):
  return T5Config(
    **dict.fromkeys(('emb_dim', 'head_dim', 'mlp_dim'), 4)
    | dict.fromkeys(('num_encoder_layers', 'num_decoder_layers'), 1)
    | {'num_heads': 1, 'vocab_size': 10}
    | fields
  )


class _Module:
  """One of our modules. `made(*inputs)` returns it, and what it is given."""

  def init_with_output(self, rng, *inputs, **options):
    module, given = self.made(*inputs, **options)
    return module.init_with_output(rng, *given)

  def init(self, rng, *inputs, **options):
    return self.init_with_output(rng, *inputs, **options)[1]

  def apply(self, variables, *inputs, rngs=None, **options):
    module, given = self.made(*inputs, **options)
    return module.apply(variables, *given, rngs=rngs)


class DenseGeneral(_Module):
  def __init__(self, features, axis=-1, kernel_init=layers.dense_init):
    self.features = features if isinstance(features, tuple) else (features,)
    self.axis, self.kernel_init = axis, kernel_init

  # A test replaces it. `MultiHeadDotProductAttention` hands that on.
  __call__ = layers.Projection.__call__

  def made(self, x):
    if self.axis != -1:
      x, _ = joined(x, ('heads', 'kv'))
    axes = ('embed', 'mlp')
    return layers.Projection(
      _config(), self.features, axes, self.kernel_init
    ), (x,)


class MlpBlock(_Module):
  """`kernel_init` is fixed in our MLP."""

  def __init__(self, intermediate_dim, activations, dtype, kernel_init=None):
    self.fields = {
      'mlp_dim': intermediate_dim,
      'mlp_activations': activations,
      'dtype': dtype,
    }

  def made(self, x, deterministic=False):
    config = _config(emb_dim=x.shape[-1], **self.fields)
    return layers.MLP(config, deterministic), (jnp.asarray(x), Context())


class Embed(_Module):
  def __init__(self, num_embeddings, features):
    self.config = _config(vocab_size=num_embeddings, emb_dim=features)

  def made(self, x):
    return layers.Embed(self.config), (x,)

  def apply(self, variables, x, method=None):
    if method is None:
      return super().apply(variables, x)
    # T5X's decoder divides by sqrt(D) before it calls `attend`, which ours
    # does inside: the argument is undivided here.
    undivided = x * np.sqrt(self.config.emb_dim)
    return layers.Embed(self.config).apply(
      variables, undivided, method=layers.Embed.attend
    )

  attend = 'attend'


class RelativePositionBiases(_Module):
  def __init__(self, num_buckets, max_distance, num_heads, dtype):
    self.config = _config(
      relative_attention_num_buckets=num_buckets,
      relative_attention_max_distance=max_distance,
      num_heads=num_heads,
      dtype=dtype,
    )

  def made(self, query_length, key_length, bidirectional):
    module = biases.RelativePositionBias(self.config, bidirectional)
    self.lengths = query_length, key_length
    return module, self.lengths

  def init_with_output(self, rng, *inputs, **options):
    distances, variables = super().init_with_output(rng, *inputs, **options)
    return self.of_pairs(distances), variables

  def apply(self, variables, *inputs, **options):
    return self.of_pairs(super().apply(variables, *inputs, **options))

  def of_pairs(self, distances):
    """The bias of all pairs as our attention makes it of distances."""
    segments = (jnp.ones((1, n), jnp.int32) for n in self.lengths)
    return Visible(*segments, distances).bias()[None]


class MultiHeadDotProductAttention(_Module):
  def __init__(self, num_heads, head_dim, dropout_rate, float32_logits=False):
    # Our softmax is always of float32.
    self.fields = {
      'num_heads': num_heads,
      'head_dim': head_dim,
      'dropout_rate': dropout_rate,
    }

  def __call__(self, *args, **kwargs):
    """A test's subclass calls it, which no test uses."""
    raise NotImplementedError

  def apply(self, variables, inputs_q, inputs_kv, decode=False, mutable=()):
    config = _config(emb_dim=inputs_q.shape[-1], **self.fields)
    module = layers.Attention(config, decode=decode)
    size = inputs_kv.shape[1]
    if decode:
      size = variables['cache']['cached_key'].shape[-1]
    seen = _all_visible(inputs_q.shape[:2], size)
    given = (inputs_q, inputs_kv, seen, Context(), Context())
    if not decode:
      return module.apply(variables, *given)
    # T5X caches [B, H, K, T] and ours [B, T, H, K]. In ours, the decoder keeps
    # the index for all of its layers.
    cache = {k: jnp.asarray(v) for k, v in unfreeze(variables['cache']).items()}
    index = cache.pop('cache_index')
    cache = {k: jnp.moveaxis(v, -1, 1) for k, v in cache.items()}
    with mock.patch.object(
      layers.Projection, '__call__', DenseGeneral.__call__
    ):
      y, changed = module.apply(
        {'cache': cache}, *given, index, mutable=mutable
      )
    cache = {k: jnp.moveaxis(v, 1, -1) for k, v in changed['cache'].items()}
    return y, {'cache': cache | {'cache_index': _next_index(index)}}


def _all_visible(queries, num_keys, distances=None):
  rows, num_queries = queries
  ones = lambda count: jnp.ones((rows, count), jnp.int32)
  return Visible(ones(num_queries), ones(num_keys), distances)


def _next_index(index):
  """What one step of our decoder makes of its index, without its layers."""

  def leave_out(call, args, kwargs, context):
    if isinstance(context.module, stacks.DecoderLayer):
      return args[0], None
    return call(*args, **kwargs)

  config = _config(logits_via_embedding=True)
  module = network.Transformer(config)
  ids = jnp.ones((1, 3), jnp.int32)
  encoded = jnp.ones((1, 3, config.emb_dim))
  decode = functools.partial(
    module.apply,
    method='decode',
    decode=True,
    enable_dropout=False,
    max_decode_length=3,
    mutable=['cache'],
  )
  params = module.init(jax.random.key(0), ids, ids, ids)['params']
  with nn.intercept_methods(leave_out):
    cache = {'decoder': {'cache_index': index}}
    _, changed = decode(
      {'params': params, 'cache': cache}, encoded, ids, ids[:, :1], ids[:, :1]
    )
  return changed['cache']['decoder']['cache_index']


def dot_product_attention(
  query,
  key,
  value,
  bias,
  dropout_rng=None,
  dropout_rate=0.0,
  deterministic=True,
  dtype=jnp.float32,
):
  """Our attention, with projections that copy.

  Keys and values are side by side in `inputs_kv`. Heads of different sizes are
  filled with zeros, which change no logit.
  """
  size = max(query.shape[-1], value.shape[-1])
  fill = lambda x: jnp.pad(
    jnp.asarray(x, dtype), ((0, 0),) * 3 + ((0, size - x.shape[-1]),)
  )
  q, k, v = (
    x.reshape(*x.shape[:2], -1) for x in map(fill, (query, key, value))
  )
  heads, width = query.shape[2], q.shape[-1]
  one, none = jnp.eye(width), jnp.zeros((width, width))
  kernels = {
    'query': one,
    'key': jnp.concatenate([one, none]),
    'value': jnp.concatenate([none, one]),
    'out': one,
  }
  config = _config(
    emb_dim=width,
    num_heads=heads,
    head_dim=size,
    dropout_rate=dropout_rate,
    dtype=dtype,
  )
  # Our bias has a value for each distance, which T5 has. T5X's has one for each
  # pair: each query is asked alone.
  kv = jnp.concatenate([k, v], -1)
  rows, length = q.shape[:2]

  def one(row, query):
    at = slice(row, row + 1)
    distances = jnp.asarray(bias[row, :, query], dtype)
    return layers.Attention(config, deterministic).apply(
      {'params': {name: {'kernel': x} for name, x in kernels.items()}},
      q[at, query : query + 1],
      kv[at],
      _all_visible((1, 1), kv.shape[1], distances),
      Context(),
      Context(),
      rngs=None if dropout_rng is None else {'dropout': dropout_rng},
    )

  y = jnp.concatenate(
    [
      jnp.concatenate([one(i, j) for j in range(length)], 1)
      for i in range(rows)
    ]
  )
  return y.reshape(*y.shape[:2], heads, size)[..., : value.shape[-1]]


def make_attention_mask(
  query_input, key_input, pairwise_fn=jnp.multiply, dtype=jnp.float32
):
  """Our mask asks both whether positions are tokens and for their segments."""
  if pairwise_fn is jnp.equal:
    # In ours, 0 is padding, which sees nothing.
    mask = same_segment(query_input + 1, key_input + 1)
  elif pairwise_fn is jnp.multiply:
    mask = same_segment(
      jnp.asarray(query_input, jnp.int32), jnp.asarray(key_input, jnp.int32)
    )
  else:
    raise NotImplementedError(pairwise_fn)
  return mask[:, None].astype(dtype)


def make_decoder_mask(decoder_target_tokens, dtype, decoder_segment_ids=None):
  """The mask that our network hands to its decoder."""
  targets = jnp.atleast_2d(decoder_target_tokens)
  seen = []

  def record(call, args, kwargs, context):
    if isinstance(context.module, stacks.DecoderLayer):
      seen.append(next(x for x in args if isinstance(x, Visible)))
      return args[0], None
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    network.Transformer(_config()).init(
      jax.random.key(0),
      jnp.zeros((*targets.shape, 4)),
      targets,
      targets,
      targets,
      decoder_segment_ids,
      decoder_segment_ids,
      method='decode',
    )
  (visible,) = seen
  mask = visible.mask()[:, None].astype(dtype)
  return mask if decoder_target_tokens.ndim == 2 else mask[0]


def make_causal_mask(x, dtype=jnp.float32):
  """The same mask if every position is a token: T5X's asks for no values."""
  return make_decoder_mask(jnp.ones_like(x, jnp.int32), dtype)
