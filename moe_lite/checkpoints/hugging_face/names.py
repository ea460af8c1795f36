"""The layers and projections of a T5, by our names and by Hugging Face's.

Source: the modules of transformers' T5ForConditionalGeneration.
"""

from collections.abc import Iterator
from typing import NamedTuple

from moe_lite.t5.config import T5Config

_ATTENTION = {'query': 'q', 'key': 'k', 'value': 'v', 'out': 'o'}
# For each stack, the modules of one layer in order: our name of the module, our
# name of the norm before it, and their name of the module.
_LAYERS = {
  'encoder': (
    ('attention', 'pre_attention_layer_norm', 'SelfAttention'),
    ('mlp', 'pre_mlp_layer_norm', 'DenseReluDense'),
  ),
  'decoder': (
    ('self_attention', 'pre_self_attention_layer_norm', 'SelfAttention'),
    (
      'encoder_decoder_attention',
      'pre_cross_attention_layer_norm',
      'EncDecAttention',
    ),
    ('mlp', 'pre_mlp_layer_norm', 'DenseReluDense'),
  ),
}
STACKS = tuple(_LAYERS)


class Sublayer(NamedTuple):
  """An attention or an MLP, with the norm before it.

  Attributes:
    ours: our name, such as 'encoder/layers_0/attention'.
    our_norm: our name of the norm, such as
      'encoder/layers_0/pre_attention_layer_norm'.
    theirs: their name, such as 'encoder.block.0.layer.0.SelfAttention'.
    their_norm: their name of the norm, such as
      'encoder.block.0.layer.0.layer_norm'.
  """

  ours: str
  our_norm: str
  theirs: str
  their_norm: str


class Projection(NamedTuple):
  """A matmul with a frozen kernel, at a site.

  Attributes:
    sublayer: our name of the sublayer, such as 'encoder/layers_0/attention'.
    site: our name of the projection within it, such as 'query'.
    theirs: their name, such as 'encoder.block.0.layer.0.SelfAttention.q'.
    shape: (in, out) of the kernel; the axes of heads and kv are joined.
  """

  sublayer: str
  site: str
  theirs: str
  shape: tuple[int, int]


def sublayers(config: T5Config) -> Iterator[Sublayer]:
  """The sublayers of both stacks, in order."""
  counts = config.num_encoder_layers, config.num_decoder_layers
  for (stack, modules), count in zip(_LAYERS.items(), counts, strict=True):
    for i in range(count):
      for j, (module, norm, their_module) in enumerate(modules):
        ours, theirs = f'{stack}/layers_{i}', f'{stack}.block.{i}.layer.{j}'
        yield Sublayer(
          f'{ours}/{module}',
          f'{ours}/{norm}',
          f'{theirs}.{their_module}',
          f'{theirs}.layer_norm',
        )


def projections(config: T5Config) -> Iterator[Projection]:
  """The projections of both stacks, in order."""
  D, F = config.emb_dim, config.mlp_dim
  joined = config.num_heads * config.head_dim
  factors = len(config.mlp_activations)
  names = ['wi'] if factors == 1 else [f'wi_{i}' for i in range(factors)]
  mlp = {**{name: (name, (D, F)) for name in names}, 'wo': ('wo', (F, D))}
  attention = {
    ours: (theirs, (joined, D) if ours == 'out' else (D, joined))
    for ours, theirs in _ATTENTION.items()
  }
  for sublayer in sublayers(config):
    inside = mlp if sublayer.ours.endswith('/mlp') else attention
    for site, (name, shape) in inside.items():
      yield Projection(sublayer.ours, site, f'{sublayer.theirs}.{name}', shape)
