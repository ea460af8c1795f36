"""(IA)³: learned vectors that rescale activations.

Source: Liu et al., arXiv 2205.05638, section 3.3.
"""

import flax.linen as nn
import jax.numpy as jnp

from moe_lite.adapters.adapter import Adapter
from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.routing.context import Context


class IA3(Adapter):
  """`outputs * scale`, one learned factor for each feature of the site.

  Parameters: `scale` [*out_axes], ones at initialisation.

  Note: in a gated MLP the site is the activated first factor. Scaling one
  factor of `gelu(wi_0 x) * wi_1 x` scales the product, so a second vector for
  the other factor would express nothing more.
  """

  @nn.compact
  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    del inputs, context
    scale = partitioning.param(
      self,
      'scale',
      nn.initializers.ones,
      self.out_shape(outputs),
      jnp.float32,
      self.site.out_axes,
    )
    return outputs * scale.astype(outputs.dtype)
