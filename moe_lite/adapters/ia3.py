"""(IA)³: a learned vector rescales the activations at a site.

Source: Liu et al., arXiv 2205.05638, section 3.3.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import Adapter
from moe_lite.core import partitioning
from moe_lite.core.types import Array
from moe_lite.routing.context import Context


class IA3(Adapter):
  """Computes `outputs * scale`, with one learned factor for each feature.

  Leaves:
    * `scale`: [*out_axes], all ones at initialisation.

  Note: in a gated MLP, (IA)³ stands at the activated first factor. If one
  factor of `gelu(wi_0 x) * wi_1 x` is scaled, the product is scaled too. A
  second vector at the other factor would therefore express nothing more.
  """

  def mixed(
    self,
    adapters: Sequence[Adapter],
    params: Sequence[Mapping[str, np.ndarray]],
    weights: Sequence[float],
  ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Adds up the differences of the vectors from one."""
    self.check_alike(adapters)
    parts = [
      weight * (x['scale'] - 1)
      for weight, x in zip(weights, params, strict=True)
    ]
    return {'scale': np.asarray(1 + sum(parts), np.float32)}, {}

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
    # A difference keeps all its bits in bfloat16, in which numbers near 1
    # are 1/128 apart.
    return outputs + outputs * (scale - 1.0).astype(outputs.dtype)
