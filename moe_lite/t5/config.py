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

ACTIVATIONS = {
  'gelu': nn.gelu,
  'relu': nn.relu,
  'silu': nn.silu,
  'linear': lambda x: x,
}
# Where a decision may be made for all routers within.
DECIDED_AT = ('layer', 'stack')
REMAT = ('none', 'minimal', 'full')

ATTENTION_SITES = {
  'query': Site('query', ('embed',), ('heads', 'kv')),
  'key': Site('key', ('embed',), ('heads', 'kv')),
  'value': Site('value', ('embed',), ('heads', 'kv')),
  'out': Site('out', ('joined_kv',), ('embed',)),
}


def mlp_sites(num_factors: int) -> dict[str, Site]:
  """Sites of an MLP whose hidden layer is a product of `num_factors`."""
  factors = (
    ['wi'] if num_factors == 1 else [f'wi_{i}' for i in range(num_factors)]
  )
  sites = {name: Site(name, ('embed',), ('mlp',)) for name in factors}
  # The activated first factor, before the gate product.
  sites['intermediate'] = Site('intermediate', ('mlp',), ('mlp',))
  sites['wo'] = Site('wo', ('mlp',), ('embed',))
  return sites


@dataclasses.dataclass(frozen=True)
class T5Config:
  """A T5 network: T5 1.1 by default, T5 1.0 by the last two of its sizes.

  Attributes:
    vocab_size: V, the rows of the embedding (the vocabulary's size, rounded up
      as the checkpoint was).
    emb_dim: D.
    num_heads: H.
    head_dim: K. H * K may differ from D.
    mlp_dim: F.
    num_encoder_layers: N of the encoder.
    num_decoder_layers: N of the decoder.
    mlp_activations: one for each factor of the hidden layer; ('gelu', 'linear')
      is T5 1.1's gated GELU, ('relu',) is T5 1.0.
    logits_via_embedding: tie the logits to the token embedding (T5 1.0).
    dropout_rate: of embeddings, residual branches, attention and hidden layer.
    dtype: of activations. Parameters are created in float32 and may be held
      in another type; they are converted where they are used.
    relative_attention_num_buckets: of the relative position bias.
    relative_attention_max_distance: beyond it all positions share a bucket.
    scan_layers: compile one layer and scan over parameters stacked on axis 1.
    remat: what the backward pass recomputes: 'none'; 'minimal', everything but
      the named matmul outputs of each layer; 'full', whole layers.
    adapters: what stands at which site, such as {'key': MoV}.
    decisions: what decides for all routers of a 'layer' or of a 'stack', such
      as {'layer': routing.Decision}; at most one of the two.

  Raises:
    UserError: for an unknown site, remat policy, activation or size.
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
    for name in self.mlp_activations:
      if name not in ACTIVATIONS:
        raise UserError(
          f'mlp_activations has {name!r}; known are {", ".join(ACTIVATIONS)}.'
        )
    for name in ('vocab_size', 'emb_dim', 'num_heads', 'head_dim', 'mlp_dim'):
      if getattr(self, name) < 1:
        raise UserError(f'{name} = {getattr(self, name)} must be at least 1.')
    if self.relative_attention_num_buckets < 4:
      raise UserError(
        'relative_attention_num_buckets = '
        f'{self.relative_attention_num_buckets} must be at least 4: near and '
        'far positions, on two sides.'
      )
    if self.relative_attention_max_distance < 1:
      raise UserError(
        'relative_attention_max_distance = '
        f'{self.relative_attention_max_distance} must be at least 1.'
      )
    if not isinstance(self.adapters, Mapping):
      raise UserError(
        f'ADAPTERS = {self.adapters!r} must map sites to adapters, such as '
        "{'key': @adapters.MoV}; include a file of gin/methods."
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
        "there, as {'layer': @routing.Decision} of routers/shared.gin does."
      )
    set_field('decisions', flax.core.freeze(dict(self.decisions)))
    # Their own checks speak at once, and not from within a traced layer.
    self._check_decisions(
      any('shared' in adapter.needs for adapter in self.standing().values())
    )

  @property
  def sites(self) -> dict[str, Site]:
    """Every site of a layer by name."""
    return {**ATTENTION_SITES, **mlp_sites(len(self.mlp_activations))}

  def standing(self) -> dict[str, Adapter]:
    """Site to the adapter there, built outside any network."""
    return {
      site: factory(site=self.sites[site], parent=None)
      for site, factory in self.adapters.items()
    }

  def deciding(self) -> dict[str, Decision]:
    """What `decisions` builds, outside any network."""
    return {
      where: factory(parent=None) for where, factory in self.decisions.items()
    }

  @property
  def context_needs(self) -> frozenset[str]:
    """What routers need of a `routing.Context` beside its mask."""
    made = [*self.standing().values(), *self.deciding().values()]
    return frozenset().union(*(x.needs for x in made))

  def _check_decisions(self, are_read: bool) -> None:
    if len(self.decisions) > 1 or not set(self.decisions) <= set(DECIDED_AT):
      raise UserError(
        f'decisions at {", ".join(self.decisions)}: give one, at '
        f'{" or ".join(map(repr, DECIDED_AT))}, as routers/shared.gin does.'
      )
    for where, made in self.deciding().items():
      if not isinstance(made, Decision):
        raise UserError(
          f'DECISIONS has a {type(made).__name__} at {where!r}: give '
          '@routing.Decision, and what decides as SHARED_ROUTER.'
        )
    if are_read != bool(self.decisions):
      raise UserError(
        'Routers share a decision, and none is made: give routers/shared.gin.'
        if are_read
        else 'A decision is made that no router shares: give a method that '
        'routes, and routers/shared.gin.'
      )
