"""A model that learns from answer choices, with T-Few's three losses.

The network is any other's, and so is all but the loss.
"""

import math

import jax
import jax.numpy as jnp

from moe_lite.core.errors import UserError
from moe_lite.core.features import DECODER_INPUTS, DECODER_TARGETS, IS_RIGHT
from moe_lite.core.types import Array, Batch, Metrics, Tree
from moe_lite.models import losses
from moe_lite.models.choice_losses import choice_losses, log_complement
from moe_lite.models.forward import Rngs
from moe_lite.models.metrics import Reduction
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.models.surface import Network


class ChoiceModel(EncoderDecoderModel):
  """Trains on inputs with several targets, and on which of them is right.

  A batch has `encoder_input_tokens` [B, L], and C choices for each input:
  `decoder_input_tokens` and `decoder_target_tokens` [B, C, T], and
  `choice_is_right` [B, C]. An input is encoded once, and all of its choices are
  decoded against that encoding. The loss of a batch is the mean over its
  examples, as in the paper. T-Few's released code takes means over all tokens
  of a batch, in which long answers weigh more.

  Source: T-Few, arXiv 2205.05638, section 3.2.
  """

  def __init__(
    self,
    module: Network,
    unlikelihood: float = 1.0,
    choice_loss: float = 1.0,
  ):
    """Checks the weights of the losses.

    Args:
      module: the network.
      unlikelihood: the weight of the loss of wrong choices.
      choice_loss: the weight of the cross entropy of the right choice.

    Raises:
      UserError: if a weight is negative, or not a number.
    """
    super().__init__(
      module, z_loss=0.0, loss_normalizing_factor='AVERAGE_PER_SEQUENCE'
    )
    weights = {'UNLIKELIHOOD': unlikelihood, 'CHOICE_LOSS': choice_loss}
    for name, weight in weights.items():
      if not 0 <= weight < math.inf:
        raise UserError(f'{name} = {weight} must be a number of at least 0.')
    self.unlikelihood, self.choice_loss = unlikelihood, choice_loss

  def loss_normalizer(self, batch: Batch) -> Array:
    """Returns the number of examples, float32."""
    return jnp.float32(_choices_of(batch).shape[0])

  def loss_fn(
    self,
    params: Tree,
    batch: Batch,
    rngs: Rngs | None = None,
    normalizer: Array | None = None,
    routed: Tree | None = None,
  ) -> tuple[Array, Metrics]:
    """Computes the training loss; see the base class for the arguments.

    Returns:
      The mean loss of an example, and the metrics. `loss` is the sum of the
      losses of examples, in nats, and `weight_sum` their number. `correct` and
      `tokens` count tokens of right choices. `likelihood_loss`,
      `unlikelihood_loss` and `choice_loss` are the means of the three terms,
      without their weights. `chosen` is the share of examples whose right
      choice has the highest mean log-probability.

    Raises:
      UserError: if the batch has no choices.
    """
    del routed  # No loss of routers is computed.
    is_right, targets = _choices_of(batch) > 0, batch[DECODER_TARGETS]
    if normalizer is None:
      normalizer = self.loss_normalizer(batch)
    logits = self._logits_of_choices(params, batch, rngs)
    token_losses, _ = losses.cross_entropy(logits, targets)
    terms = choice_losses(
      -token_losses,
      log_complement(logits, targets),
      targets > 0,
      is_right,
    )
    of_examples = (
      terms.likelihood
      + self.unlikelihood * terms.unlikelihood
      + self.choice_loss * terms.choice
    )
    is_token = (targets > 0) & is_right[..., None]
    mean = lambda x: jnp.sum(x) / normalizer
    metrics: Metrics = {
      'loss': jnp.sum(of_examples),
      'z_loss': jnp.float32(0.0),
      'weight_sum': jnp.float32(len(targets)),
      'correct': jnp.sum((logits.argmax(-1) == targets) & is_token),
      'tokens': jnp.sum(is_token),
      'likelihood_loss': mean(terms.likelihood),
      'unlikelihood_loss': mean(terms.unlikelihood),
      'choice_loss': mean(terms.choice),
      'chosen': mean(terms.is_chosen),
    }
    return mean(of_examples), metrics

  @property
  def reductions(self) -> dict[str, Reduction]:
    """How the values of each metric of `loss_fn` are reduced over steps."""
    means = ('likelihood_loss', 'unlikelihood_loss', 'choice_loss', 'chosen')
    return {**super().reductions, **dict.fromkeys(means, Reduction.MEAN)}

  def _logits_of_choices(
    self, params: Tree, batch: Batch, rngs: Rngs | None
  ) -> Array:
    """Returns teacher-forced logits, float32 [B, C, T, V]."""
    encoder_rngs, choice_rngs = {}, {}
    num_choices = batch[DECODER_TARGETS].shape[1]
    for name, key in (rngs or {}).items():
      encoder_rngs[name], key = jax.random.split(key)
      choice_rngs[name] = jax.random.split(key, num_choices)
    encoded = self.encode(params, batch, rngs=encoder_rngs)

    def decode(rngs: Rngs, inputs: Array, targets: Array) -> Array:
      return self.decode(params, encoded, batch, inputs, targets, rngs)

    # As in `score_choices`, what depends on the inputs alone is computed once.
    return jax.vmap(decode, in_axes=(0, 1, 1), out_axes=1)(
      choice_rngs, batch[DECODER_INPUTS], batch[DECODER_TARGETS]
    )


def _choices_of(batch: Batch) -> Array:
  """Returns which choices of a batch are right, [B, C].

  Raises:
    UserError: if it has no choices.
  """
  if IS_RIGHT not in batch:
    raise UserError(
      'models.ChoiceModel trains on answer choices, and the data have none: '
      'training.train.dataset must be @data.ChoiceDataset(), as in '
      'runs/few_shot.gin.'
    )
  return batch[IS_RIGHT]
