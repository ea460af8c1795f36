"""The seam between T5 and the methods: a site, and an adapter standing there.

An adapter sees what the frozen operation at its site read and what it wrote,
and returns what it should have written. T5 names the site and knows nothing
else; a method knows no model's size, since shapes and logical axes come from
the site and the tensors.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import flax.linen as nn

from moe_lite.core.errors import UserError
from moe_lite.core.parameters import ADAPTER_SUFFIX
from moe_lite.core.types import Array, Axes, Shape
from moe_lite.routing.context import Context

ROUTER_READS = ('inputs', 'outputs')


@dataclasses.dataclass(frozen=True)
class Site:
  """A place in a layer where an adapter may stand.

  Attributes:
    name: as gin's ADAPTERS names it, 'key'.
    in_axes: logical axes of one token of what the operation read, ('embed',).
    out_axes: the same of what it wrote, ('heads', 'kv').
  """

  name: str
  in_axes: Axes
  out_axes: Axes


class Adapter(nn.Module):
  """Base class of adapters; a subclass implements `__call__`.

  An adapter is the identity at initialisation, bit for bit in float32.
  """

  site: Site

  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    """Returns what the operation at the site should have written.

    Args:
      inputs: what it read, [B, L, *in_axes].
      outputs: what it wrote, [B, L, *out_axes].
      context: what routers need beyond the tokens.

    Returns:
      An array of the shape and dtype of `outputs`.
    """
    raise NotImplementedError

  @property
  def needs(self) -> frozenset[str]:
    """Fields of the context that are to be there, by default its router's."""
    router = getattr(self, 'router', None)
    if router is None:
      return frozenset()
    experts = getattr(self, 'num_experts', 1)
    return router(num_experts=experts, parent=None).needs

  def expert_products(self, params: Mapping[str, Array]) -> Array | None:
    """Inner products of what experts change, for reports that compare them.

    Args:
      params: the adapter's own leaves by name.

    Returns:
      [E, E]; None, as by default, where experts are not compared.
    """
    return None

  def out_shape(self, outputs: Array) -> Shape:
    """The shape of one token at the site, as `site.out_axes` names it."""
    return outputs.shape[outputs.ndim - len(self.site.out_axes) :]


# Builds an adapter: a class, a `functools.partial` of it, or a gin reference
# such as `@adapters.MoV`. Called with `site` and `name`.
AdapterFactory = Callable[..., Adapter]
Adapters = Mapping[str, AdapterFactory]


def adapt(
  adapters: Adapters,
  site: Site,
  inputs: Array,
  outputs: Array,
  context: Context,
) -> Array:
  """Applies the adapter that stands at `site`, if one does.

  Called within a compact method of the layer that owns the site, so that the
  parameters live under '<site>_adapter' of that layer.
  """
  factory = adapters.get(site.name)
  if factory is None:
    return outputs
  adapter = factory(site=site, name=site.name + ADAPTER_SUFFIX)
  adapted = adapter(inputs, outputs, context)
  if adapted.shape != outputs.shape or adapted.dtype != outputs.dtype:
    raise ValueError(
      f'{type(adapter).__name__} at {site.name} returned '
      f'{adapted.dtype}{list(adapted.shape)} for outputs '
      f'{outputs.dtype}{list(outputs.shape)}: an adapter keeps both.'
    )
  return adapted


def check_router_reads(router_reads: str) -> None:
  """Raises UserError unless `router_reads` names one of the two tensors."""
  if router_reads not in ROUTER_READS:
    raise UserError(
      f'router_reads = {router_reads!r} must be one of {ROUTER_READS}.'
    )


def joined(x: Array, axes: Axes) -> tuple[Array, str]:
  """Flattens one token's axes to a vector, and names the joined axis.

  [B, L, H, K] with ('heads', 'kv') becomes [B, L, H * K] with 'joined_kv', as
  T5X stores attention kernels; a single axis is left as it is.
  """
  if len(axes) == 1:
    return x, axes[0]
  if axes != ('heads', 'kv'):
    raise ValueError(f'There is no logical axis that joins {axes}.')
  lead = x.shape[: x.ndim - len(axes)]
  return x.reshape(*lead, math.prod(x.shape[len(lead) :])), 'joined_kv'
