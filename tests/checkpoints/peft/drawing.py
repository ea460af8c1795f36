"""Networks with adapters that PEFT has, and what runs of them trained."""

import jax.numpy as jnp
import numpy as np

from moe_lite.core import parameters
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from tests import tiny_run


def network(standing, gated=True):
  activations = ('gelu', 'linear') if gated else ('relu',)
  model = tiny_run.model(
    mlp_activations=activations, adapters=standing, num_encoder_layers=2
  )
  return model.module.config


def draw(config, dtype='float32', seed=0):
  """What a run of it trained, away from the identity."""
  model = EncoderDecoderModel(Transformer(config))
  trainable, _ = parameters.split(
    model.abstract_variables()['params'], parameters.TRAINABLE_ADAPTERS
  )
  rng = np.random.default_rng(seed)
  return {
    path: np.asarray(jnp.asarray(rng.normal(1, 1, leaf.shape), dtype))
    for path, leaf in parameters.flatten(trainable).items()
  }
