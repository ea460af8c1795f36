"""The sizes and switches of a T5 network."""

import dataclasses
from collections.abc import Mapping, Sequence

import flax
import flax.linen as nn
import jax.numpy as jnp

from moe_lite.adapters.adapter import Adapter, Adapters, Site
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import DType
from moe_lite.routing.shared import Decision, DecisionFactory
from moe_lite.t5.attention import FORMS

ACTIVATIONS = {
  'gelu': nn.gelu,
  'relu': nn.relu,
  'silu': nn.silu,
  'linear': lambda x: x,
}
# The places where one decision may be made for all routers inside.
DECIDED_AT = ('layer', 'stack')
# What the backward pass may recompute.
REMAT = ('none', 'minimal', 'full')
# How a base in int8 is multiplied.
BASE_COMPUTES = ('activations', 'int8')

ATTENTION_SITES = {
  'query': Site('query', ('embed',), ('heads', 'kv')),
  'key': Site('key', ('embed',), ('heads', 'kv')),
  'value': Site('value', ('embed',), ('heads', 'kv')),
  'out': Site('out', ('joined_kv',), ('embed',)),
}


def mlp_sites(num_factors: int) -> dict[str, Site]:
  """Returns the sites of an MLP by name.

  Args:
    num_factors: the number of factors whose product is the hidden layer.
  """
  factors = (
    ['wi'] if num_factors == 1 else [f'wi_{i}' for i in range(num_factors)]
  )
  sites = {name: Site(name, ('embed',), ('mlp',)) for name in factors}
  # The activated first factor, before it is multiplied by the gate.
  sites['intermediate'] = Site('intermediate', ('mlp',), ('mlp',))
  sites['wo'] = Site('wo', ('mlp',), ('embed',))
  return sites


@dataclasses.dataclass(frozen=True)
class T5Config:
  """The sizes and switches of a T5 network.

  The defaults are T5 1.1. `mlp_activations` and `logits_via_embedding` make it
  T5 1.0.

  Attributes:
    vocab_size: V, the number of rows of the embedding. It is the vocabulary's
      size, rounded up as in the checkpoint.
    emb_dim: D, the size of activations between layers.
    num_heads: H, the number of attention heads.
    head_dim: K, the size of one head. H * K may differ from D.
    mlp_dim: F, the size of the MLP's hidden layer.
    num_encoder_layers: the number of the encoder's layers.
    num_decoder_layers: the number of the decoder's layers.
    mlp_activations: the activation of each factor of the hidden layer. ('gelu',
      'linear') is T5 1.1's gated GELU, and ('relu',) is T5 1.0.
    logits_via_embedding: whether the logits are tied to the token embedding, as
      in T5 1.0.
    dropout_rate: the rate of dropout on embeddings, residual branches,
      attention weights and the hidden layer.
    dtype: the type of activations. Parameters are created in float32, may be
      held in another type, and are converted where they are used.
    relative_attention_num_buckets: the number of buckets of the relative
      position bias.
    relative_attention_max_distance: the distance from which on all positions
      share a bucket.
    scan_layers: whether to compile one layer and scan over parameters that are
      stacked on axis 1.
    remat: what the backward pass recomputes. 'none': nothing. 'minimal':
      everything except the named matmul outputs of each layer. 'full': whole
      layers.
    attention: how attention is computed, one of `attention.FORMS`.
    base_compute: how the products with the weights of a base in int8 are
      computed. 'activations': in the type of activations. 'int8': both sides
      in int8; see `quantization.int8_matmul`. Experimental.
    adapters: from the name of a site to what builds the adapter there, such as
      {'key': MoV}.
    decisions: from a place, 'layer' or 'stack', to what builds the decision for
      all routers there, such as {'layer': routing.Decision}. At most one of the
      two places may be given.

  Raises:
    UserError: if a site, remat policy, activation or decision is unknown, a
      size is out of its range, or an adapter does not fit its site.
  """

  vocab_size: int
  emb_dim: int
  num_heads: int
  head_dim: int
  mlp_dim: int
  num_encoder_layers: int
  num_decoder_layers: int
  mlp_activations: Sequence[str] = ('gelu', 'linear')
  logits_via_embedding: bool = False
  dropout_rate: float = 0.0
  dtype: DType = 'float32'
  relative_attention_num_buckets: int = 32
  relative_attention_max_distance: int = 128
  scan_layers: bool = False
  remat: str = 'none'
  attention: str = 'auto'
  base_compute: str = 'activations'
  adapters: Adapters = dataclasses.field(default_factory=dict)
  decisions: Mapping[str, DecisionFactory] = dataclasses.field(
    default_factory=dict
  )

  def __post_init__(self):
    set_field = lambda name, value: object.__setattr__(self, name, value)
    set_field('mlp_activations', tuple(self.mlp_activations))
    try:
      set_field('dtype', jnp.dtype(self.dtype))
    except TypeError as error:
      raise UserError(
        f"ACTIVATION_DTYPE = {self.dtype!r} must be 'bfloat16' or 'float32'."
      ) from error
    if self.remat not in REMAT:
      raise UserError(f'REMAT = {self.remat!r} must be one of {REMAT}.')
    if self.base_compute not in BASE_COMPUTES:
      raise UserError(
        f'BASE_COMPUTE = {self.base_compute!r} must be one of {BASE_COMPUTES}.'
      )
    if self.attention not in FORMS:
      raise UserError(f'ATTENTION = {self.attention!r} must be one of {FORMS}.')
    for name in self.mlp_activations:
      if name not in ACTIVATIONS:
        raise UserError(
          f'mlp_activations has {name!r}, which is not known: give one of '
          f'{", ".join(ACTIVATIONS)}.'
        )
    for name in ('vocab_size', 'emb_dim', 'num_heads', 'head_dim', 'mlp_dim'):
      if getattr(self, name) < 1:
        raise UserError(f'{name} = {getattr(self, name)} must be at least 1.')
    if self.relative_attention_num_buckets < 4:
      raise UserError(
        'relative_attention_num_buckets = '
        f'{self.relative_attention_num_buckets} must be at least 4, because '
        'near and far positions on two sides each need a bucket.'
      )
    if self.relative_attention_max_distance < 1:
      raise UserError(
        'relative_attention_max_distance = '
        f'{self.relative_attention_max_distance} must be at least 1.'
      )
    if not isinstance(self.adapters, Mapping):
      raise UserError(
        f'ADAPTERS = {self.adapters!r} must map sites to adapters, such as '
        "{'key': @adapters.MoV}: include a file of gin/methods."
      )
    sites = self.sites
    for name, factory in self.adapters.items():
      if name not in sites:
        raise UserError(
          f'ADAPTERS names the site {name!r}, which this network does not have.'
          f'{nearest(name, sites)} Its sites: {", ".join(sites)}.'
        )
      if not callable(factory):
        raise UserError(
          f'ADAPTERS[{name!r}] = {factory!r} is not an adapter: give a class, '
          'as in @adapters.MoV.'
        )
    set_field('adapters', flax.core.freeze(dict(self.adapters)))
    if not isinstance(self.decisions, Mapping) or not all(
      map(callable, self.decisions.values())
    ):
      raise UserError(
        f'DECISIONS = {self.decisions!r} must map a place to what decides '
        "there, such as {'layer': @routing.Decision} in routers/shared.gin."
      )
    set_field('decisions', flax.core.freeze(dict(self.decisions)))
    # The adapters and decisions are built here, so that their own checks raise
    # now and not later inside a traced layer.
    standing = self.standing()
    for name, adapter in standing.items():
      if not adapter.fits(sites[name]):
        fitting = [x for x, site in sites.items() if adapter.fits(site)]
        raise UserError(
          f'ADAPTERS has {type(adapter).__name__} at {name!r}, where it cannot '
          f'stand. Its sites: {", ".join(fitting) or "none of this network"}.'
        )
    self._check_decisions(
      any('shared' in adapter.needs for adapter in standing.values())
    )

  @property
  def sites(self) -> dict[str, Site]:
    """All sites of a layer by name."""
    return {**ATTENTION_SITES, **mlp_sites(len(self.mlp_activations))}

  def standing(self) -> dict[str, Adapter]:
    """Builds the adapter of each site, outside of any network."""
    return {
      site: factory(site=self.sites[site], parent=None)
      for site, factory in self.adapters.items()
    }

  def deciding(self) -> dict[str, Decision]:
    """Builds the decision of each place, outside of any network."""
    return {
      where: factory(parent=None) for where, factory in self.decisions.items()
    }

  @property
  def context_needs(self) -> frozenset[str]:
    """The fields of `routing.Context`, besides the mask, that routers need."""
    made = [*self.standing().values(), *self.deciding().values()]
    return frozenset().union(*(x.needs for x in made))

  def _check_decisions(self, are_read: bool) -> None:
    """Checks the decisions, and that somebody reads what is decided.

    Args:
      are_read: whether an adapter takes a shared decision.

    Raises:
      UserError: if a decision is misplaced, is read by nobody, or is missing.
    """
    if len(self.decisions) > 1 or not set(self.decisions) <= set(DECIDED_AT):
      raise UserError(
        f'DECISIONS has decisions at {", ".join(self.decisions)}: give one, at '
        f'{" or ".join(map(repr, DECIDED_AT))}, as routers/shared.gin does.'
      )
    for where, made in self.deciding().items():
      if not isinstance(made, Decision):
        raise UserError(
          f'DECISIONS has a {type(made).__name__} at {where!r}: give '
          '@routing.Decision, and as SHARED_ROUTER the router that decides.'
        )
    if are_read != bool(self.decisions):
      raise UserError(
        'The routers share a decision, but DECISIONS makes none: give '
        'routers/shared.gin.'
        if are_read
        else 'DECISIONS makes a decision that no router shares: give a method '
        'that routes, and routers/shared.gin.'
      )
