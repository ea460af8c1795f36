"""What is asked of a network: loss, scores, predictions, routing.

The model is unaware of what trains: it takes the whole parameter tree in the
form that its network runs (see `parameters.merge` and `stack_layers`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  PACKING,
)
from moe_lite.core.types import Array, Batch, Metrics, Shape, Tree
from moe_lite.models import decoding, losses, router_losses
from moe_lite.models.metrics import Reduction
from moe_lite.models.surface import Network
from moe_lite.routing.router import STATISTICS, TOKEN_STATISTICS
from moe_lite.routing.statistics import by_path, sum_examples

Rngs = Mapping[str, Array]

# The metric that holds the statistics of every router.
ROUTING = 'routing'
# What a batch may have beside its tokens, packed or not.
_BESIDE = (*PACKING, INPUTS_EMBEDDING)


class EncoderDecoderModel:
  """Loss, scoring and decoding over a network.

  Batches are those of SeqIO's EncDecFeatureConverter: int32 [B, L]
  `encoder_input_tokens`, [B, T] `decoder_input_tokens` and
  `decoder_target_tokens`, `decoder_loss_weights` [B, T]; packed ones also have
  segment ids and positions, and others `inputs_embedding` [B, F] if their task
  does.
  """

  def __init__(
    self,
    module: Network,
    z_loss: float = 1e-4,
    label_smoothing: float = 0.0,
    loss_normalizing_factor: str | float | None = 'NUM_REAL_TARGET_TOKENS',
    load_balance: float = 0.0,
    router_z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    routing_metrics: bool = False,
  ):
    """Args: `routing_metrics` adds routers' statistics to those of a loss; the
    others as in `losses` and `router_losses`.

    Raises:
      UserError: for an unknown factor, or a negative weight.
    """
    losses.check_normalizing_factor(loss_normalizing_factor)
    self.router_losses = router_losses.RouterLosses(
      load_balance, router_z_loss, entropy_bonus
    )
    self.routing_metrics = routing_metrics
    self.module = module
    self.z_loss = z_loss
    self.label_smoothing = label_smoothing
    self.loss_normalizing_factor = loss_normalizing_factor

  def get_initial_variables(
    self, rng: Array, input_shapes: Mapping[str, Shape]
  ) -> Tree:
    """Draws all parameters, base included.

    Args:
      rng: a key.
      input_shapes: of `encoder_input_tokens` and `decoder_input_tokens`;
        parameters depend on neither.

    Returns:
      `params`, and `params_axes` with the logical axes of each.
    """
    sources = jnp.ones(input_shapes[ENCODER_INPUTS], jnp.int32)
    targets = jnp.ones(input_shapes[DECODER_INPUTS], jnp.int32)
    variables = self.module.init(
      {'params': rng}, sources, targets, targets, enable_dropout=False
    )
    return {name: variables[name] for name in ('params', 'params_axes')}

  def abstract_variables(
    self, input_shapes: Mapping[str, Shape] | None = None
  ) -> Tree:
    """`get_initial_variables` by shapes alone: nothing is allocated."""
    if input_shapes is None:
      input_shapes = dict.fromkeys((ENCODER_INPUTS, DECODER_INPUTS), (1, 8))
    return jax.eval_shape(
      lambda rng: self.get_initial_variables(rng, input_shapes),
      jax.random.key(0),
    )

  def logits(
    self,
    params: Tree,
    batch: Batch,
    rngs: Rngs | None = None,
    mutable: Any = False,
  ) -> Any:
    """Teacher-forced logits [B, T, V]; with dropout if `rngs` has 'dropout'."""
    beside = {name: batch[name] for name in _BESIDE if name in batch}
    return self._apply(
      {'params': params},
      batch[ENCODER_INPUTS],
      batch[DECODER_INPUTS],
      batch[DECODER_TARGETS],
      **beside,
      enable_dropout=bool(rngs) and 'dropout' in rngs,
      rngs=rngs,
      mutable=mutable,
    )

  def loss_normalizer(self, batch: Batch) -> Array:
    """What the loss of this batch is divided by.

    It depends on no parameter, so that microbatches of one batch can share it:
    their losses then add up to the whole batch's.
    """
    return losses.normalization(batch, self.loss_normalizing_factor)[1]

  def loss_fn(
    self,
    params: Tree,
    batch: Batch,
    rngs: Rngs | None = None,
    normalizer: Array | None = None,
    routed: Tree | None = None,
  ) -> tuple[Array, Metrics]:
    """The training loss.

    Args:
      params: merged parameters.
      batch: see the class.
      rngs: 'dropout' and 'router' streams; None at evaluation.
      normalizer: of the whole batch, where `batch` is a part of it.
      routed: likewise, the sum of `routing_needed` over all parts.

    Returns:
      The normalised loss, auxiliary losses included, and metrics that add up
      over batches: `loss` and `z_loss` (weighted sums over tokens, nats, no
      auxiliary loss included), `weight_sum`, `correct` and `tokens` (counts of
      target tokens). Where they are asked for, also the auxiliary losses, which
      add up over the parts of a batch, and `routing`: router's path to its
      statistics, summed over tokens.

    Raises:
      UserError: if routers are asked for, and there are none.
    """
    of_routers: Metrics = {}
    if self.router_losses or self.routing_metrics:
      logits, sums = self._routed(params, batch, rngs)
      if self.routing_metrics:
        of_routers[ROUTING] = router_losses.reported(sums)
    else:
      logits, sums = self.logits(params, batch, rngs), {}
    targets = batch[DECODER_TARGETS]
    token_losses, z_losses = losses.cross_entropy(
      logits, targets, self.z_loss, self.label_smoothing
    )
    weights, own_normalizer = losses.normalization(
      batch, self.loss_normalizing_factor
    )
    if normalizer is None:
      normalizer = own_normalizer
    total = jnp.sum(token_losses * weights)
    is_token = weights > 0
    metrics = {
      'loss': total,
      'z_loss': jnp.sum(z_losses * weights),
      'weight_sum': weights.sum(),
      'correct': jnp.sum((logits.argmax(-1) == targets) & is_token),
      'tokens': jnp.sum(is_token),
      **of_routers,
    }
    loss = total / normalizer
    if self.router_losses:
      auxiliary, values = self.router_losses(params, sums, routed)
      loss, metrics = loss + auxiliary, metrics | values
    return loss, metrics

  @property
  def reductions(self) -> dict[str, Reduction]:
    """Each metric of `loss_fn` to how the values of several steps are one."""
    sums = ('loss', 'z_loss', 'weight_sum', 'correct', 'tokens', ROUTING)
    return {
      **dict.fromkeys(sums, Reduction.SUM),
      **dict.fromkeys(router_losses.METRICS, Reduction.MEAN),
    }

  def routing_needed(
    self, params: Tree, batch: Batch, rngs: Rngs | None = None
  ) -> Tree:
    """What `loss_fn` needs of all parts of a batch; it adds up over parts."""
    _, sums = self._routed(params, batch, rngs)
    return self.router_losses.needed(params, sums)

  def score_batch(self, params: Tree, batch: Batch) -> Array:
    """Log-probability of each row's target, [B] float32.

    Summed over the target's tokens, EOS included, without z-loss or length
    normalisation, as T5X's `score_batch`.
    """
    weights, _ = losses.normalization(batch, None)
    return _score(self.logits(params, batch), batch, weights)

  def encode(self, params: Tree, batch: Batch, mutable: Any = False) -> Any:
    """What the decoder reads, [B, L, D], of the batch's part for the encoder.

    That is `encoder_input_tokens`, and `inputs_embedding` if a router asks.
    """
    return self._apply(
      {'params': params},
      batch[ENCODER_INPUTS],
      enable_dropout=False,
      inputs_embedding=batch.get(INPUTS_EMBEDDING),
      mutable=mutable,
      method=self.module.encode,
    )

  def score_choices(
    self,
    params: Tree,
    encoded: Array,
    batch: Batch,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
  ) -> Array:
    """`score_batch` of several targets for each of some encoded inputs.

    Args:
      params: merged parameters.
      encoded: what `encode` gave, [B, L, D].
      batch: that it gave it for.
      decoder_input_tokens: [B, C, T].
      decoder_target_tokens: [B, C, T].

    Returns:
      Log-probabilities, [B, C] float32.
    """

    def score(decoder_inputs: Array, targets: Array) -> Array:
      logits = self._apply(
        {'params': params},
        encoded,
        batch[ENCODER_INPUTS],
        decoder_inputs,
        targets,
        enable_dropout=False,
        inputs_embedding=batch.get(INPUTS_EMBEDDING),
        method=self.module.decode,
      )
      of_targets = {DECODER_TARGETS: targets}
      weights, _ = losses.normalization(of_targets, None)
      return _score(logits, of_targets, weights)

    # What depends on the inputs alone, as the keys and values that the decoder
    # attends to, is not mapped, and is computed once for all choices.
    return jax.vmap(score, in_axes=1, out_axes=1)(
      decoder_input_tokens, decoder_target_tokens
    )

  def predict_batch(
    self,
    params: Tree,
    batch: Batch,
    decode_fn: Callable[..., Any] = decoding.greedy,
    num_decodes: int = 1,
    **decoder_params,
  ) -> Any:
    """Decodes from the batch's inputs with a cache.

    Args:
      params: merged parameters.
      batch: as in `encode`, and `decoder_input_tokens` [B, T], which tells only
        how long an output may be.
      decode_fn: see `decoding`.
      num_decodes: hypotheses an example, for beam search.
      **decoder_params: passed on to `decode_fn`.

    Returns:
      What `decode_fn` returns: ids [B, T], padded with 0 after EOS.
    """
    shape = batch[DECODER_INPUTS].shape
    starts = jnp.zeros(shape, jnp.int32)
    given = (
      self.encode(params, batch),
      batch[ENCODER_INPUTS],
      batch.get(INPUTS_EMBEDDING),
    )

    def decode(variables: Tree, given: Tree, ids: Array) -> tuple[Array, Tree]:
      encoded, sources, embedding = given
      return self._apply(
        variables,
        encoded,
        sources,
        ids,
        ids,
        enable_dropout=False,
        inputs_embedding=embedding,
        decode=True,
        max_decode_length=shape[1],
        mutable=['cache'],
        method=self.module.decode,
      )

    _, created = jax.eval_shape(decode, {'params': params}, given, starts)
    cache = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), created['cache']
    )
    # Beams are example-major; the decoder repeats the cache itself.
    given = jax.tree.map(lambda x: jnp.repeat(x, num_decodes, axis=0), given)

    def tokens_to_logits(ids: Array, cache: Tree) -> tuple[Array, Tree]:
      variables = {'params': params, 'cache': cache}
      logits, updated = decode(variables, given, ids)
      return logits[:, 0], updated['cache']

    if num_decodes > 1:
      decoder_params['num_decodes'] = num_decodes
    return decode_fn(
      inputs=starts,
      cache=cache,
      tokens_to_logits=tokens_to_logits,
      eos_id=decoding.EOS_ID,
      cache_batch_axis=int(self.module.scan_layers),
      **decoder_params,
    )

  def routing_batch(self, params: Tree, batch: Batch) -> Tree:
    """Sums of routers' statistics over each example's tokens.

    Returns:
      A tree like the parameters', whose '.../router' nodes hold `probability`,
      `weight`, `load` and `first` [B, E], `entropy`, `square_logsumexp` and
      `tokens` [B]; stacked on axis 0 where the network scans. Empty without
      routers.
    """
    _, variables = self.logits(params, batch, mutable=[STATISTICS])
    return variables.get(STATISTICS, {})

  def routing_tokens(self, params: Tree, batch: Batch) -> Tree:
    """What every router makes of every token; without targets, the encoder's.

    Returns:
      A tree like the parameters', whose '.../router' nodes hold `probability`
      and `weight`, [B, L, E] or [B, L, H, E]; stacked on axis 0 where the
      network scans. Empty without routers. Padding is in it.
    """
    mutable = [TOKEN_STATISTICS]
    if DECODER_TARGETS in batch:
      _, variables = self.logits(params, batch, mutable=mutable)
    else:
      _, variables = self.encode(params, batch, mutable=mutable)
    return variables.get(TOKEN_STATISTICS, {})

  def _routed(
    self, params: Tree, batch: Batch, rngs: Rngs | None
  ) -> tuple[Array, Tree]:
    """Logits, and every router's statistics summed over examples."""
    logits, variables = self.logits(params, batch, rngs, mutable=[STATISTICS])
    sown = by_path(variables.get(STATISTICS, {}))
    if self.routing_metrics and not sown:
      raise router_losses.no_routers('ROUTING_METRICS', True)
    return logits, {path: sum_examples(x) for path, x in sown.items()}

  def _apply(self, variables: Tree, *args: Any, **kwargs: Any) -> Any:
    """Flax's `apply`, which returns a pair where `mutable` is given."""
    return self.module.apply(variables, *args, **kwargs)


def _score(logits: Array, batch: Batch, weights: Array) -> Array:
  token_losses, _ = losses.cross_entropy(logits, batch[DECODER_TARGETS])
  return -jnp.sum(token_losses * weights, axis=-1)
