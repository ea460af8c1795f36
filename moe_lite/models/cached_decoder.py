"""The decoder of a network with its cache, one position for each call."""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from moe_lite.core import parameters, partitioning
from moe_lite.core.features import ENCODED, ENCODER_INPUTS
from moe_lite.core.types import Array, Batch, Tree
from moe_lite.models.decoding import TokensToLogits
from moe_lite.models.forward import features_of_inputs
from moe_lite.models.surface import Network

# What the network is given of some inputs: what the encoder wrote for them,
# their tokens, and what else routers may read of them.
Given = tuple[Array, Array, Mapping[str, Array]]


def in_a_loop(network: Network, params: Tree) -> tuple[Network, Tree]:
  """Returns the form of a network in which decoding steps run on this device.

  In a scan, a CPU copies the weights, keys and values of every layer at every
  step before it multiplies by them. There the layers are taken apart once,
  which takes as much memory as the decoder's weights. A step of T5 1.1 small
  then takes 29 ms instead of 43 (tests/benchmarks/decoding.py).

  Args:
    network: the network.
    params: its parameters.
  """
  if not network.scan_layers or partitioning.platform() != 'cpu':
    return network, params
  config = dataclasses.replace(network.config, scan_layers=False)
  # Barriers keep XLA from taking layers apart at every step. Each leaf has its
  # own, so that those of the encoder, which no step reads, are dropped.
  apart = jax.tree.map(
    jax.lax.optimization_barrier, parameters.unstack_layers(params)
  )
  return network.clone(config=config), apart


def prepare(
  network: Network,
  params: Tree,
  encoded: Array,
  batch: Batch,
  starts: Array,
  num_decodes: int,
) -> tuple[Tree, TokensToLogits]:
  """Prepares what the functions of `decoding` need of a network.

  Args:
    network: the network.
    params: the merged parameters.
    encoded: what the encoder wrote for the batch, [B, S, D].
    batch: the batch that it was written for.
    starts: int32 [B, T] zeros, whose shape is that of the outputs.
    num_decodes: the number of hypotheses for each example, K.

  Returns:
    An empty cache for B sequences, and `tokens_to_logits`, which decodes one
    position of B * K sequences. The K sequences of an example are neighbours.
  """
  given = (encoded, batch[ENCODER_INPUTS], features_of_inputs(batch))
  # The network creates its cache in the first call. The shapes of that call are
  # enough, and nothing is computed for them.
  create = functools.partial(decode, network, length=starts.shape[1])
  _, created = jax.eval_shape(create, {'params': params}, given, starts)
  cache = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), created)
  # The K sequences of an example share its keys and values.
  once = of_inputs(network, params, given)
  # The decoding function repeats the cache itself.
  given = jax.tree.map(lambda x: jnp.repeat(x, num_decodes, axis=0), given)

  def tokens_to_logits(ids: Array, cache: Tree) -> tuple[Array, Tree]:
    variables = {'params': params, 'cache': cache, ENCODED: once}
    logits, cache = decode(network, variables, given, ids, starts.shape[1])
    return logits[:, 0], cache

  return cache, tokens_to_logits


def of_inputs(network: Network, params: Tree, given: Given) -> Tree:
  """Computes what every decoding step would compute again of its inputs.

  Returns:
    The collection `ENCODED`: the keys and values that the decoder's layers
    attend to.
  """
  # XLA drops what one decoding step computes besides.
  ids = jnp.zeros((given[0].shape[0], 1), jnp.int32)
  _, made = _apply(
    network, {'params': params}, given, ids, 1, ['cache', ENCODED]
  )
  # The barrier keeps XLA from moving the transposition of keys and values into
  # the loop over steps, where it would be done at each of them.
  return jax.lax.optimization_barrier(made[ENCODED])


def decode(
  network: Network, variables: Tree, given: Given, ids: Array, length: int
) -> tuple[Array, Tree]:
  """Decodes one position, or creates the cache if there is none.

  Args:
    network: the network.
    variables: the parameters, the cache, and what `of_inputs` computed.
    given: the inputs.
    ids: int32 [B, 1], or [B, T] to create the cache.
    length: the number of positions in the cache, T.

  Returns:
    Float32 logits [B, 1, V], and the cache.
  """
  logits, made = _apply(network, variables, given, ids, length, ['cache'])
  return logits, made['cache']


def _apply(
  network: Network,
  variables: Tree,
  given: Given,
  ids: Array,
  length: int,
  mutable: list[str],
) -> tuple[Array, Tree]:
  encoded, tokens, features = given
  return network.apply(
    variables,
    encoded,
    tokens,
    ids,
    ids,
    enable_dropout=False,
    **features,
    decode=True,
    max_decode_length=length,
    mutable=mutable,
    method=network.decode,
  )
