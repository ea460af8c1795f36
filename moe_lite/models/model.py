"""A model: the loss, scores, predictions and routing of a network.

A model does not know which parameters train. Its methods take the whole
parameter tree, in the form that its network runs (see `parameters.merge` and
`parameters.stack_layers`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite.core.features import DECODER_INPUTS, DECODER_TARGETS
from moe_lite.core.types import Array, Batch, Metrics, Tree
from moe_lite.models import cached_decoder, decoding, losses, router_losses
from moe_lite.models.forward import Forward, Rngs
from moe_lite.models.metrics import Reduction
from moe_lite.models.surface import Network
from moe_lite.routing.router import STATISTICS, TOKEN_STATISTICS
from moe_lite.routing.statistics import sum_by_path

# The metric that holds the statistics of all routers.
ROUTING = 'routing'


class EncoderDecoderModel(Forward):
  """Computes losses, scores, predictions and routing with a network.

  The passes through the network are those of `Forward`, which also describes
  what a batch holds.
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
    """Checks the settings of the losses.

    Args:
      module: the network.
      z_loss: the coefficient of the z-loss; see `losses.cross_entropy`.
      label_smoothing: the probability that is spread over the other ids; see
        `losses.cross_entropy`.
      loss_normalizing_factor: what the loss is divided by; see
        `losses.normalization`.
      load_balance: the weight of the load balance; see
        `router_losses.RouterLosses`, also for the next two.
      router_z_loss: the weight of the routers' z-loss.
      entropy_bonus: the weight of the routers' entropy, which is subtracted.
      routing_metrics: whether the metrics of a loss include the statistics of
        the routers.

    Raises:
      UserError: if the factor is unknown, or a weight is negative.
    """
    super().__init__(module)
    losses.check_normalizing_factor(loss_normalizing_factor)
    self.router_losses = router_losses.RouterLosses(
      load_balance, router_z_loss, entropy_bonus
    )
    self.routing_metrics = routing_metrics
    self.z_loss = z_loss
    self.label_smoothing = label_smoothing
    self.loss_normalizing_factor = loss_normalizing_factor

  @property
  def loss_weights(self) -> dict[str, float]:
    """The weights of further losses, by the names of their macros."""
    weights = dataclasses.asdict(self.router_losses)
    return {name.upper(): weight for name, weight in weights.items()}

  def loss_normalizer(self, batch: Batch) -> Array:
    """Returns the number that the loss of this batch is divided by.

    It does not depend on parameters. The microbatches of a batch can therefore
    share the number of the whole batch, and their losses then add up to its
    loss.
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
    """Computes the training loss.

    Args:
      params: the merged parameters.
      batch: see `Forward`.
      rngs: the random streams 'dropout' and 'router'; None at evaluation.
      normalizer: the `loss_normalizer` of the whole batch, if `batch` is only a
        part of it.
      routed: the sum of `routing_needed` over all parts of the batch, if
        `batch` is only a part of it.

    Returns:
      The normalised loss, which includes auxiliary losses, and the metrics. The
      metrics `loss` and `z_loss` are weighted sums over tokens, in nats,
      without auxiliary losses. `weight_sum` is the sum of the weights.
      `correct` and `tokens` count target tokens. These add up over batches. If
      auxiliary losses are on, each is a metric too, and adds up over the parts
      of a batch. If routing metrics are on, `routing` maps the path of each
      router to its statistics, summed over tokens.

    Raises:
      UserError: if something is asked of routers and there are none.
    """
    if self.router_losses or self.routing_metrics:
      logits, sown = self._routed(params, batch, rngs)
    else:
      logits, sown = self.logits(params, batch, rngs), {}
    if normalizer is None:
      normalizer = self.loss_normalizer(batch)
    metrics = self.loss_sums(logits, batch, normalizer)
    loss = metrics['loss'] / normalizer
    if self.routing_metrics:
      metrics[ROUTING] = router_losses.reported(sown)
    if self.router_losses:
      auxiliary, values = self.router_losses(params, sown, routed)
      loss, metrics = loss + auxiliary, metrics | values
    return loss, metrics

  def loss_sums(
    self, logits: Array, batch: Batch, normalizer: Array
  ) -> Metrics:
    """Computes the metrics of a loss, without those of routers.

    Args:
      logits: what `logits` returned, [B, T, V].
      batch: see `Forward`.
      normalizer: what the sum `loss` is divided by.
    """
    del normalizer  # All of these are sums.
    sums, _ = losses.weighted_sums(
      logits,
      batch,
      self.loss_normalizing_factor,
      self.z_loss,
      self.label_smoothing,
    )
    return sums

  @property
  def reductions(self) -> dict[str, Reduction]:
    """How the values of each metric of `loss_fn` are reduced over steps."""
    sums = ('loss', 'z_loss', 'weight_sum', 'correct', 'tokens', ROUTING)
    return {
      **dict.fromkeys(sums, Reduction.SUM),
      **dict.fromkeys(router_losses.METRICS, Reduction.MEAN),
    }

  def routing_needed(
    self, params: Tree, batch: Batch, rngs: Rngs | None = None
  ) -> Tree:
    """Returns what `loss_fn` must know of all parts of a batch.

    The values of the parts are to be added up. The arguments are those of
    `loss_fn`.
    """
    _, sums = self._routed(params, batch, rngs)
    return self.router_losses.needed(params, sums)

  def score_batch(self, params: Tree, batch: Batch) -> Array:
    """Returns the log-probability of the target of each row, float32 [B].

    It is the sum over the tokens of the target, EOS included. There is no
    z-loss and no normalisation by length, as in T5X's `score_batch`.
    """
    return losses.log_probability(self.logits(params, batch), batch)

  def score_choices(
    self,
    params: Tree,
    encoded: Array,
    batch: Batch,
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
  ) -> Array:
    """Scores several targets for each input, as `score_batch` scores one.

    Args:
      params: the merged parameters.
      encoded: what `encode` returned for the batch, [B, L, D].
      batch: the batch of the inputs.
      decoder_input_tokens: the ids that the decoder reads for each of C
        choices, [B, C, T].
      decoder_target_tokens: the ids of each choice, [B, C, T].

    Returns:
      Log-probabilities, float32 [B, C].
    """

    def score(decoder_inputs: Array, targets: Array) -> Array:
      logits = self.decode(params, encoded, batch, decoder_inputs, targets)
      return losses.log_probability(logits, {DECODER_TARGETS: targets})

    # Only the choices are mapped over. Whatever depends on the inputs alone,
    # such as the keys and values that the decoder attends to, is computed once
    # for all choices.
    return jax.vmap(score, in_axes=1, out_axes=1)(
      decoder_input_tokens, decoder_target_tokens
    )

  def predict_batch(
    self,
    params: Tree,
    batch: Batch,
    decode_fn: Callable[..., Any] = decoding.greedy,
    num_decodes: int = 1,
    **decoder_params: Any,
  ) -> Any:
    """Decodes an output for each input of a batch.

    Args:
      params: the merged parameters.
      batch: what `encode` reads, and `decoder_input_tokens` [B, T]. Only the
        shape of the latter is read: T is the longest that an output may be.
      decode_fn: one of the functions of `decoding`.
      num_decodes: the number of hypotheses for each example in a beam search.
      **decoder_params: further arguments of `decode_fn`.

    Returns:
      What `decode_fn` returns: int32 ids [B, T], with 0 after EOS.
    """
    starts = jnp.zeros(batch[DECODER_INPUTS].shape, jnp.int32)
    encoded = self.encode(params, batch)
    module, params = cached_decoder.in_a_loop(self.module, params)
    cache, tokens_to_logits = cached_decoder.prepare(
      module,
      params,
      encoded,
      batch,
      starts,
      num_decodes,
    )
    if num_decodes > 1:
      decoder_params['num_decodes'] = num_decodes
    return decode_fn(
      inputs=starts,
      cache=cache,
      tokens_to_logits=tokens_to_logits,
      eos_id=decoding.EOS_ID,
      cache_batch_axis=int(module.scan_layers),
      **decoder_params,
    )

  def routing_batch(self, params: Tree, batch: Batch) -> Tree:
    """Returns the statistics of all routers, summed over each example's tokens.

    Returns:
      A tree like that of the parameters. Its nodes '.../router' hold
      `probability`, `weight`, `load` and `first` [B, E], and `entropy`,
      `square_logsumexp` and `tokens` [B]. If the network scans, layers are
      stacked on axis 0. The tree is empty if there are no routers.
    """
    _, variables = self.logits(params, batch, mutable=[STATISTICS])
    return variables.get(STATISTICS, {})

  def routing_tokens(self, params: Tree, batch: Batch) -> Tree:
    """Returns what every router decides for every token.

    If the batch has no targets, only the encoder runs, and only its routers are
    in the result.

    Returns:
      A tree like that of the parameters. Its nodes '.../router' hold
      `probability` and `weight`, [B, L, E] or [B, L, H, E]. If the network
      scans, layers are stacked on axis 0. The tree is empty if there are no
      routers. Values at padding are included.
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
    """Returns logits, and the statistics of each router over the batch."""
    logits, variables = self.logits(params, batch, rngs, mutable=[STATISTICS])
    sums = sum_by_path(variables.get(STATISTICS, {}))
    if self.routing_metrics and not sums:
      raise router_losses.no_routers('ROUTING_METRICS', True)
    return logits, sums
