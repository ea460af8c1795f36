"""LoRA: a low-rank update is added to a frozen projection.

Source: Hu et al., arXiv 2106.09685, section 4.1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from moe_lite.adapters.adapter import Adapter, joined
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.matmuls import narrow, widen
from moe_lite.core.types import Array, Initializer
from moe_lite.routing.context import Context


def check_scale(adapter: Any, source: Any) -> None:
  """Raises UserError unless two pairs of matrices have one rank and alpha."""
  for name in ('rank', 'alpha'):
    before, now = getattr(source, name), getattr(adapter, name)
    if before != now:
      raise adapter.cannot_begin(
        source,
        f'Its {name.upper()} is {before} there and {now} here: give '
        f'--gin.{name.upper()}={before}.',
      )


class LoRA(Adapter):
  """Computes `outputs + (alpha / R) * (inputs a) b`.

  Both matrices have two dimensions. The axes heads and kv are joined in them,
  as T5X stores kernels.

  Leaves:
    * `a`: [in, R].
    * `b`: [R, out], zero at initialisation.

  Attributes:
    rank: the rank of the update, R.
    alpha: the numerator of the update's scale, alpha / R.
    a_init: draws the initial `a`.
  """

  rank: int = 4
  alpha: float = 16.0
  a_init: Initializer = nn.initializers.normal(0.02)

  def __post_init__(self):
    if self.rank < 1:
      raise UserError(f'RANK = {self.rank}: LoRA needs a rank of at least 1.')
    super().__post_init__()

  def begin_from(
    self, source: Adapter, params: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    taken = super().begin_from(source, params)
    check_scale(self, source)
    return taken

  def mixed(
    self,
    adapters: Sequence[Adapter],
    params: Sequence[Mapping[str, np.ndarray]],
    weights: Sequence[float],
  ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Adds up the products `a b`: the pairs lie side by side in one."""
    self.check_alike(adapters)
    a = np.concatenate([x['a'] for x in params], axis=1)
    scales = [
      weight * x.alpha / x.rank
      for weight, x in zip(weights, adapters, strict=True)
    ]
    b = np.concatenate(
      [scale * x['b'] for scale, x in zip(scales, params, strict=True)]
    )
    rank = len(b)
    leaves = {'a': np.asarray(a, np.float32), 'b': np.asarray(b, np.float32)}
    return leaves, {'rank': rank, 'alpha': float(rank)}

  @nn.compact
  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    del context
    x, in_axis = joined(inputs, self.site.in_axes)
    y, out_axis = joined(outputs, self.site.out_axes)
    a = partitioning.param(
      self,
      'a',
      self.a_init,
      (x.shape[-1], self.rank),
      jnp.float32,
      (in_axis, 'rank'),
    )
    b = partitioning.param(
      self,
      'b',
      nn.initializers.zeros,
      (self.rank, y.shape[-1]),
      jnp.float32,
      ('rank', out_axis),
    )
    # The scale is applied in rank space, where the tensor is smallest.
    ranks = narrow(x, a.astype(x.dtype)) * (self.alpha / self.rank)
    return (y + widen(ranks, b.astype(y.dtype))).reshape(outputs.shape)
