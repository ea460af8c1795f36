"""What a run of a few leaves trains, and its optimizer's state."""

import jax.numpy as jnp

from moe_lite.core import parameters
from moe_lite.training import optimizers

PATHS = {
  'encoder/layers_0/attention/key_adapter/scale': (2, 3),
  'encoder/layers_0/attention/key_adapter/router/kernel': (3, 2),
  'encoder/layers_1/attention/key_adapter/scale': (2, 3),
}


def tree(value=1.0, paths=PATHS):
  return parameters.unflatten(
    {path: jnp.full(shape, value) for path, shape in paths.items()}
  )


def rest(values):
  optimizer = optimizers.adafactor(optimizers.constant(1.0))
  return {'optimizer': optimizer.init(values), 'step': jnp.int32(7)}
