"""Translates between Hugging Face's config.json and our T5Config.

Source: transformers' T5Config. Up to version 4, `tie_word_embeddings` said two
things: the head is the token embedding, and what the head multiplies is scaled.
Version 5 writes `tie_word_embeddings` true for every T5, and says in
`scale_decoder_outputs` whether the scaling is there. Our `logits_via_embedding`
stands for both.
"""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from moe_lite.checkpoints.hugging_face.file_names import CONFIG
from moe_lite.core.errors import UserError
from moe_lite.t5.config import T5Config

MODEL_TYPE = 't5'
# The network of mT5 is that of T5 1.1.
MULTILINGUAL = 'mt5'
TIED = 'tie_word_embeddings'
SCALED = 'scale_decoder_outputs'

# Their names of sizes, and ours.
_SIZES = {
  'vocab_size': 'vocab_size',
  'd_model': 'emb_dim',
  'num_heads': 'num_heads',
  'd_kv': 'head_dim',
  'd_ff': 'mlp_dim',
  'num_layers': 'num_encoder_layers',
  'num_decoder_layers': 'num_decoder_layers',
  'relative_attention_num_buckets': 'relative_attention_num_buckets',
  'relative_attention_max_distance': 'relative_attention_max_distance',
}
# The values of what a file may leave out, as files of 2020 do.
_DEFAULTS = {
  'relative_attention_num_buckets': 32,
  'relative_attention_max_distance': 128,
  'feed_forward_proj': 'relu',
  'layer_norm_epsilon': 1e-6,
}
# What mT5 has besides, where its file leaves it out.
_OF_MULTILINGUAL = {'feed_forward_proj': 'gated-gelu', TIED: False}
# What the network and its decoders take for granted.
_FIXED = {
  'pad_token_id': 0,
  'eos_token_id': 1,
  'decoder_start_token_id': 0,
  'is_encoder_decoder': True,
  'is_decoder': False,
  'tie_encoder_decoder': False,
  'pruned_heads': {},
  'quantization_config': None,
}
# The epsilon of `t5.layers.LayerNorm`.
_EPSILON = 1e-6
# Their `feed_forward_proj`, and our `mlp_activations`. Their 'gelu', which is
# the exact one, is missing: ours is the approximation that T5 1.1 has.
_ACTIVATIONS = {
  'gated-gelu': ('gelu', 'linear'),
  'gated-relu': ('relu', 'linear'),
  'gated-silu': ('silu', 'linear'),
  'gelu_new': ('gelu',),
  'relu': ('relu',),
  'silu': ('silu',),
}


def load(folder: epath.PathLike) -> dict[str, Any]:
  """Reads the file, and fills in what it leaves out.

  Raises:
    UserError: if it cannot be read, or is not of a T5.
  """
  path = epath.Path(folder) / CONFIG
  try:
    values = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}.') from error
  kind = values.get('model_type') if isinstance(values, dict) else None
  if kind not in (MODEL_TYPE, MULTILINGUAL):
    raise UserError(
      f'{path} has model_type {kind!r}; only T5 and mT5 are read, '
      f'{MODEL_TYPE!r} and {MULTILINGUAL!r}.'
    )
  defaults = {
    **_DEFAULTS,
    **(_OF_MULTILINGUAL if kind == MULTILINGUAL else {}),
    'num_decoder_layers': values.get('num_layers'),
  }
  given = {name: x for name, x in values.items() if x is not None}
  for name, needed in _FIXED.items():
    if name in given and not _equal(given[name], needed):
      raise UserError(
        f'{path} has {name} {given[name]!r}, and this package reads only '
        f'models with {name} {needed!r}.'
      )
  return {
    **defaults,
    **given,
    'feed_forward_proj': _activation(path, defaults, given),
  }


def _activation(
  path: epath.Path, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> str:
  """What `feed_forward_proj` means, after two fields that may stand beside it.

  transformers derives `dense_act_fn` and `is_gated_act` from it, and writes
  them, too. The first files of FLAN-T5 have only these.
  """
  said = given.get('feed_forward_proj')
  act, is_gated = given.get('dense_act_fn'), given.get('is_gated_act')
  if act is None and is_gated is None:
    return said or defaults['feed_forward_proj']
  if said is None:
    name = str(act or 'relu')
    return f'gated-{_plain(name)}' if is_gated else name
  gated = str(said).startswith('gated-')
  name = _plain(str(said).removeprefix('gated-'))
  if (is_gated is not None and bool(is_gated) != gated) or (
    act is not None and _plain(str(act)) != name
  ):
    raise UserError(
      f'{path} has feed_forward_proj {said!r}, dense_act_fn {act!r} and '
      f'is_gated_act {is_gated!r}, which contradict one another. Mend the '
      'file, or fetch it again.'
    )
  return str(said)


def _plain(activation: str) -> str:
  """GELU has two names where it is gated, and is then the approximation."""
  return 'gelu' if activation == 'gelu_new' else activation


def _equal(given: Any, needed: Any) -> bool:
  """Whether a value is the one that is needed; a list may hold it alone."""
  if isinstance(given, list) and len(given) == 1:
    given = given[0]
  return given == needed and isinstance(given, bool) == isinstance(needed, bool)


def network(folder: epath.PathLike) -> T5Config:
  """The network that the file describes, without adapters.

  Raises:
    UserError: if it cannot be read, or describes a network that T5Config cannot
      express.
  """
  path = epath.Path(folder) / CONFIG
  values = load(folder)
  for name in _SIZES:
    if type(values.get(name)) is not int:  # A bool would be an instance.
      raise UserError(
        f'{path} has {name} {values.get(name)!r}; a whole number is needed.'
      )
  activations = _ACTIVATIONS.get(str(values['feed_forward_proj']))
  if activations is None:
    raise UserError(
      f'{path} has feed_forward_proj {values["feed_forward_proj"]!r}; the '
      f'network knows {", ".join(_ACTIVATIONS)}.'
    )
  if values['layer_norm_epsilon'] != _EPSILON:
    raise UserError(
      f'{path} has layer_norm_epsilon {values["layer_norm_epsilon"]!r}; the '
      f'network has {_EPSILON}.'
    )
  return T5Config(
    **{ours: values[theirs] for theirs, ours in _SIZES.items()},
    mlp_activations=activations,
    # mT5's head is a leaf of its own. Version 5 of transformers ties it, and
    # still does not scale what it multiplies.
    logits_via_embedding=values['model_type'] != MULTILINGUAL
    and values.get(SCALED, values.get(TIED, True)),
  )


def check(folder: epath.PathLike, wanted: T5Config) -> None:
  """Raises UserError unless the file describes the network of a command.

  Args:
    folder: the folder of the file.
    wanted: the network of the command. Its adapters, its types, and whether it
      scans do not matter.
  """
  values, found = load(folder), network(folder)
  names = {
    **_SIZES,
    'feed_forward_proj': 'mlp_activations',
    SCALED if SCALED in values else TIED: 'logits_via_embedding',
  }
  problems = [
    f'{theirs} {values.get(theirs, True)} in {CONFIG}, {ours} '
    f'{getattr(wanted, ours)} in the models/ gin file'
    for theirs, ours in names.items()
    if getattr(found, ours) != getattr(wanted, ours)
  ]
  if problems:
    raise UserError(
      f'The base {folder} does not fit the network: {"; ".join(problems)}. '
      'Give the gin file of this base, or a base of that size.'
    )


def describe(config: T5Config, dtype: str) -> dict[str, Any]:
  """What the file says of a network.

  Args:
    config: the network.
    dtype: the type of its weights.

  Raises:
    UserError: if Hugging Face's T5 cannot express the network.
  """
  names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
  if tuple(config.mlp_activations) not in names:
    raise UserError(
      f"Hugging Face's T5 has no feed-forward layer of mlp_activations "
      f'{config.mlp_activations}; it has {", ".join(map(str, names))}.'
    )
  return {
    'architectures': ['T5ForConditionalGeneration'],
    'model_type': MODEL_TYPE,
    'is_encoder_decoder': True,
    **{theirs: getattr(config, ours) for theirs, ours in _SIZES.items()},
    'feed_forward_proj': names[tuple(config.mlp_activations)],
    'layer_norm_epsilon': _EPSILON,
    TIED: config.logits_via_embedding,
    'dropout_rate': config.dropout_rate,
    'decoder_start_token_id': 0,
    'pad_token_id': 0,
    'eos_token_id': 1,
    'torch_dtype': dtype,  # Version 5 renamed it, but still reads it.
  }


def infer(leaves: Mapping[str, Any]) -> T5Config:
  """Infers the network of a base from its leaves.

  What shapes do not tell is taken to be as in T5: GELU where the hidden layer
  is gated, ReLU where it is not, and a largest distance of 128.

  Args:
    leaves: path to array, unrolled.

  Raises:
    UserError: if they are not the leaves of a T5.
  """
  try:
    vocab_size, emb_dim = leaves['token_embedder/embedding'].shape
    num_heads, buckets = leaves['encoder/relpos_bias/rel_embedding'].shape
    joined = leaves['encoder/layers_0/attention/query/kernel'].shape[1]
    mlp_dim = leaves['encoder/layers_0/mlp/wo/kernel'].shape[0]
  except (KeyError, ValueError) as error:
    raise UserError(f'These are not the leaves of a T5: {error}.') from error
  count = lambda stack: len(
    {x.split('/')[1] for x in leaves if x.startswith(f'{stack}/layers_')}
  )
  is_gated = 'encoder/layers_0/mlp/wi_1/kernel' in leaves
  return T5Config(
    vocab_size=vocab_size,
    emb_dim=emb_dim,
    num_heads=num_heads,
    head_dim=joined // num_heads,
    mlp_dim=mlp_dim,
    num_encoder_layers=count('encoder'),
    num_decoder_layers=count('decoder'),
    mlp_activations=('gelu', 'linear') if is_gated else ('relu',),
    logits_via_embedding='decoder/logits_dense/kernel' not in leaves,
    relative_attention_num_buckets=buckets,
  )
