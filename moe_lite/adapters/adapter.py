"""The seam between T5 and the methods: sites, and adapters that stand there.

An adapter receives what the frozen operation at its site read and what it
wrote. It returns what the operation should have written. T5 names the sites and
knows nothing else about adapters. An adapter knows the size of no model,
because the site and the tensors give it the logical axes and the shapes.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from moe_lite.core.errors import UserError
from moe_lite.core.types import ADAPTER_SUFFIX, Array, Axes, Shape
from moe_lite.routing.context import Context

# The tensors of a site that the router of a mixture may read.
ROUTER_READS = ('inputs', 'outputs')


@dataclasses.dataclass(frozen=True)
class Site:
  """A place in a layer where an adapter may stand.

  Attributes:
    name: the name of the site, such as 'key'. ADAPTERS in gin uses it.
    in_axes: the logical axes of one token of the operation's input, such as
      ('embed',).
    out_axes: the logical axes of one token of the operation's output, such as
      ('heads', 'kv').
  """

  name: str
  in_axes: Axes
  out_axes: Axes


class Adapter(nn.Module):
  """The base class of adapters. A subclass implements `__call__`.

  An adapter is the identity at initialisation, bit for bit in float32.

  Attributes:
    site: the place where the adapter stands.
  """

  site: Site

  def __call__(self, inputs: Array, outputs: Array, context: Context) -> Array:
    """Returns what the operation at the site should have written.

    Args:
      inputs: what the operation read, [B, L, *in_axes].
      outputs: what the operation wrote, [B, L, *out_axes].
      context: the padding mask, and what routers need besides the tensors.

    Returns:
      An array with the shape and the dtype of `outputs`.
    """
    raise NotImplementedError

  @classmethod
  def fits(cls, site: Site) -> bool:
    """Whether an adapter of this class may stand at a site.

    By default it may stand anywhere. A class that needs outputs of one kind
    says so here, for example with `site.out_axes == ('embed',)`. A network that
    is given the adapter at another site then refuses it, and names the sites
    that would do.

    Args:
      site: the site.
    """
    return True

  @property
  def needs(self) -> frozenset[str]:
    """The fields of `Context` that the adapter reads.

    By default they are those that its field `router` needs, if it has one.
    """
    router = getattr(self, 'router', None)
    if router is None:
      return frozenset()
    experts = getattr(self, 'num_experts', 1)
    return router(num_experts=experts, parent=None).needs

  @property
  def num_tasks(self) -> int | None:
    """How many tasks its router tells apart; None if it does not."""
    router = getattr(self, 'router', None)
    if router is None:
      return None
    experts = getattr(self, 'num_experts', 1)
    return router(num_experts=experts, parent=None).num_tasks

  def expert_products(self, params: Mapping[str, Array]) -> Array | None:
    """Returns inner products between the updates of the experts.

    The routing report compares experts by them.

    Args:
      params: the parameters of this adapter by name.

    Returns:
      [E, E], or None if experts cannot be compared. The default is None.
    """
    return None

  def begin_from(
    self, source: 'Adapter', params: Mapping[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """Returns parameters with which this adapter does what another one did.

    A run that begins with the adapters of another run asks this for every site
    and layer. What the result leaves out is drawn.

    Args:
      source: the adapter that was trained at this site.
      params: its parameters, by their paths below the adapter.

    Raises:
      UserError: if this adapter cannot do what the other one did.
    """
    if type(source) is not type(self):
      raise self.cannot_begin(source)
    return dict(params)

  def mixed(
    self,
    adapters: Sequence['Adapter'],
    params: Sequence[Mapping[str, np.ndarray]],
    weights: Sequence[float],
  ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Mixes the updates of adapters that stand at one site, by weights.

    Args:
      adapters: the adapters, of which this is the first.
      params: the parameters of each, by their paths below the adapter.
      weights: the weight of each.

    Returns:
      The parameters of the mixture, and the fields of this class with which it
      is built.

    Raises:
      UserError: if such adapters cannot be mixed.
    """
    raise UserError(
      f'{type(self).__name__} at {self.site.name} cannot be mixed by weights. '
      '(IA)³ and LoRA can.'
    )

  def check_alike(self, adapters: Sequence['Adapter']) -> None:
    """Raises UserError unless all adapters to mix are of this class."""
    others = {type(x).__name__ for x in adapters if type(x) is not type(self)}
    if others:
      raise UserError(
        f'{type(self).__name__} and {others.pop()} at {self.site.name} cannot '
        'be mixed by weights: both must be of one method.'
      )

  def cannot_begin(self, source: 'Adapter', why: str = '') -> UserError:
    """The error for a source of `begin_from` that does not serve.

    Args:
      source: the adapter that was to be begun from.
      why: the reason, as a sentence.
    """
    kinds = type(source).__name__, type(self).__name__
    return UserError(
      f'INITIAL_ADAPTERS has {kinds[0]} at {self.site.name}, and this run has '
      f'{kinds[1]} there, which cannot begin from it.{why and " " + why}'
    )

  def out_shape(self, outputs: Array) -> Shape:
    """Returns the shape of one token of the outputs, one size for each axis."""
    return outputs.shape[outputs.ndim - len(self.site.out_axes) :]


AdapterFactory = Callable[..., Adapter]
"""Builds an adapter: a class, a `functools.partial` of it, or a gin reference.

A gin reference is written like `@adapters.MoV`. It is called with `site`, and
with `name` or `parent`.
"""
Adapters = Mapping[str, AdapterFactory]
"""Maps the name of a site to what builds the adapter there."""


def adapt(
  adapters: Adapters,
  site: Site,
  inputs: Array,
  outputs: Array,
  context: Context,
) -> Array:
  """Applies the adapter that stands at `site`, if there is one.

  Call this in a compact method of the layer that has the site. The parameters
  then live under '<site>_adapter' of that layer.

  Args:
    adapters: the adapters of the network, by the names of their sites.
    site: the site.
    inputs: what the frozen operation read, [B, L, *in_axes].
    outputs: what it wrote, [B, L, *out_axes].
    context: what routers are told.

  Returns:
    The adapted outputs, or `outputs` if no adapter stands there.

  Raises:
    ValueError: if the adapter changes the shape or the dtype of the outputs.
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
      f'{outputs.dtype}{list(outputs.shape)}: an adapter must keep the dtype '
      'and the shape of the outputs.'
    )
  return adapted


def check_router_reads(router_reads: str) -> None:
  """Raises UserError unless `router_reads` is one of `ROUTER_READS`."""
  if router_reads not in ROUTER_READS:
    raise UserError(
      f'router_reads = {router_reads!r} must be one of {ROUTER_READS}.'
    )


def joined(x: Array, axes: Axes) -> tuple[Array, str]:
  """Flattens the axes of each token into one vector.

  [B, L, H, K] with the axes ('heads', 'kv') becomes [B, L, H * K] with the axis
  'joined_kv', as T5X stores attention kernels. A single axis stays as it is.

  Args:
    x: [B, L, *axes].
    axes: the logical axes of one token.

  Returns:
    The flattened array, and the logical name of its last axis.

  Raises:
    ValueError: if no logical axis joins these axes.
  """
  if len(axes) == 1:
    return x, axes[0]
  if axes != ('heads', 'kv'):
    raise ValueError(f'No logical axis joins {axes}.')
  lead = x.shape[: x.ndim - len(axes)]
  return x.reshape(*lead, math.prod(x.shape[len(lead) :])), 'joined_kv'
