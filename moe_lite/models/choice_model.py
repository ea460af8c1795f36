"""A model that learns from answer choices, with T-Few's three losses.

The network is any other's, and so is all but the loss.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.core.features import DECODER_INPUTS, DECODER_TARGETS, IS_RIGHT
from moe_lite.core.types import Array, Batch, Metrics, Tree
from moe_lite.models import losses
from moe_lite.models.choice_losses import choice_losses, log_complement
from moe_lite.models.forward import Rngs
from moe_lite.models.metrics import Reduction
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.models.surface import Network

# The normalizing factor that gives every example the same weight.
_OF_EXAMPLES = 'AVERAGE_PER_SEQUENCE'
# The metrics that describe a batch.
_MEANS = ('likelihood_loss', 'unlikelihood_loss', 'choice_loss', 'chosen')


class ChoiceModel(EncoderDecoderModel):
  """Trains on inputs with several targets, and on which of them is right.

  A batch has `encoder_input_tokens` [B, L], and C choices for each input:
  `decoder_input_tokens` and `decoder_target_tokens` [B, C, T], and
  `choice_is_right` [B, C]. An input is encoded once, and all of its choices are
  decoded against that encoding. The loss of a batch is the mean over its
  examples, as in the paper. T-Few's released code takes means over all tokens
  of a batch, in which long answers weigh more, and adds 0.01 to `1 - p` in the
  loss of wrong choices.

  Source: T-Few, arXiv 2205.05638, section 3.2.
  """

  def __init__(
    self,
    module: Network,
    unlikelihood: float = 1.0,
    choice_loss: float = 1.0,
    loss_normalizing_factor: str | float | None = _OF_EXAMPLES,
    load_balance: float = 0.0,
    router_z_loss: float = 0.0,
    entropy_bonus: float = 0.0,
    routing_metrics: bool = False,
  ):
    """Checks the settings of the losses.

    Args:
      module: the network.
      unlikelihood: the weight of the loss of wrong choices.
      choice_loss: the weight of the cross entropy of the right choice.
      loss_normalizing_factor: must be 'AVERAGE_PER_SEQUENCE'.
      load_balance: see `EncoderDecoderModel`, also for the rest. The routers of
        the decoder count their tokens once for each choice.
      router_z_loss: the weight of the routers' z-loss.
      entropy_bonus: the weight of the routers' entropy.
      routing_metrics: whether the metrics include the routers' statistics.

    Raises:
      UserError: if a weight is negative, or the factor is another one.
    """
    super().__init__(
      module,
      z_loss=0.0,
      loss_normalizing_factor=loss_normalizing_factor,
      load_balance=load_balance,
      router_z_loss=router_z_loss,
      entropy_bonus=entropy_bonus,
      routing_metrics=routing_metrics,
    )
    if loss_normalizing_factor != _OF_EXAMPLES:
      raise UserError(
        f'LOSS_NORMALIZING_FACTOR = {loss_normalizing_factor!r}, but losses of '
        f'answer choices are means over examples: give {_OF_EXAMPLES!r}.'
      )
    self.unlikelihood, self.choice_loss = unlikelihood, choice_loss
    for name, weight in self.loss_weights.items():
      if not 0 <= weight < math.inf:
        raise UserError(f'{name} = {weight} must be a number of at least 0.')

  @property
  def loss_weights(self) -> dict[str, float]:
    """The weights of further losses, by the names of their macros."""
    own = {'UNLIKELIHOOD': self.unlikelihood, 'CHOICE_LOSS': self.choice_loss}
    return {**super().loss_weights, **own}

  def loss_normalizer(self, batch: Batch) -> Array:
    """Returns the number of examples, float32.

    Raises:
      UserError: if the batch has no choices.
    """
    if IS_RIGHT not in batch:
      raise UserError(
        'models.ChoiceModel trains on answer choices, and the data have none: '
        'training.train.dataset must be @data.ChoiceDataset(), as in '
        'runs/few_shot.gin.'
      )
    return jnp.float32(len(batch[IS_RIGHT]))

  def loss_sums(
    self, logits: Array, batch: Batch, normalizer: Array
  ) -> Metrics:
    """Computes the metrics of a loss, without those of routers.

    Args:
      logits: what `logits` returned, [B, C, T, V].
      batch: see the class.
      normalizer: the number of examples of the whole batch.

    Returns:
      `loss` is the sum of the losses of examples, in nats, and `weight_sum`
      their number. `correct` and `tokens` count tokens of right choices.
      `likelihood_loss`, `unlikelihood_loss` and `choice_loss` are the means of
      the three terms, without their weights. `chosen` is the share of examples
      whose right choice has the highest mean log-probability.
    """
    targets, is_right = batch[DECODER_TARGETS], batch[IS_RIGHT] > 0
    token_losses, _ = losses.cross_entropy(logits, targets)
    terms = choice_losses(
      -token_losses, log_complement(logits, targets), targets > 0, is_right
    )
    of_examples = (
      terms.likelihood
      + self.unlikelihood * terms.unlikelihood
      + self.choice_loss * terms.choice
    )
    is_token = (targets > 0) & is_right[..., None]
    means = (
      terms.likelihood,
      terms.unlikelihood,
      terms.choice,
      terms.is_chosen,
    )
    return {
      'loss': jnp.sum(of_examples),
      'z_loss': jnp.float32(0.0),
      'weight_sum': jnp.float32(len(targets)),
      'correct': jnp.sum((logits.argmax(-1) == targets) & is_token),
      'tokens': jnp.sum(is_token),
      **{
        name: jnp.sum(x) / normalizer
        for name, x in zip(_MEANS, means, strict=True)
      },
    }

  @property
  def reductions(self) -> dict[str, Reduction]:
    """How the values of each metric of `loss_fn` are reduced over steps."""
    return {**super().reductions, **dict.fromkeys(_MEANS, Reduction.MEAN)}

  def logits(
    self,
    params: Tree,
    batch: Batch,
    rngs: Rngs | None = None,
    mutable: Any = False,
  ) -> Any:
    """Returns teacher-forced logits, of all choices if there are some.

    Args:
      params: the merged parameters.
      batch: see the class, or `Forward` for a batch without choices.
      rngs: random streams by name. Each choice draws from streams of its own.
      mutable: collections that the network may write. Those of the decoder are
        summed over choices.

    Returns:
      Float32 [B, C, T, V]; see `Forward.logits` for the rest.
    """
    if IS_RIGHT not in batch:
      return super().logits(params, batch, rngs, mutable)
    encoder_rngs, choice_rngs = {}, {}
    num_choices = batch[DECODER_TARGETS].shape[1]
    for name, key in (rngs or {}).items():
      encoder_rngs[name], key = jax.random.split(key)
      choice_rngs[name] = jax.random.split(key, num_choices)
    wanted = mutable or []
    encoded, of_encoder = self.encode(params, batch, wanted, encoder_rngs)

    def decode(rngs: Rngs, inputs: Array, targets: Array) -> Any:
      return self.decode(params, encoded, batch, inputs, targets, rngs, wanted)

    # As in `score_choices`, what depends on the inputs alone is computed once.
    logits, of_choices = jax.vmap(decode, in_axes=(0, 1, 1), out_axes=(1, 0))(
      choice_rngs, batch[DECODER_INPUTS], batch[DECODER_TARGETS]
    )
    if mutable is False:
      return logits
    of_decoder = jax.tree.map(lambda x: x.sum(0), of_choices)
    return logits, parameters.merge(of_encoder, of_decoder)
