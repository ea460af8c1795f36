"""Reads and writes Hugging Face's T5, without torch or transformers.

Such a checkpoint is a folder with a `config.json` (see `config`) and weights
(see `weights`). Kernels are [out, in] there and [in, out] here; relative
position biases are [buckets, heads] there and [heads, buckets] here.

Source: the parameters of transformers' T5ForConditionalGeneration.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from moe_lite.checkpoints import buckets, lazy_arrays, safetensors_files
from moe_lite.checkpoints.format import BaseFormat
from moe_lite.checkpoints.hugging_face import config, names, tokenizer
from moe_lite.checkpoints.hugging_face.file_names import CONFIG, SAFETENSORS
from moe_lite.checkpoints.hugging_face.weights import (
  WEIGHT_DTYPES,
  Weights,
  open_weights,
)
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.core import files, json_text
from moe_lite.core.errors import UserError, some
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import to_json

TOKEN_EMBEDDING = 'token_embedder/embedding'
HEAD = 'decoder/logits_dense/kernel'

_SHARED = 'shared.weight'
_LM_HEAD = 'lm_head.weight'
# The names of copies of the token embedding.
_COPIES = ('encoder.embed_tokens.weight', 'decoder.embed_tokens.weight')
# The files of T5 1.0 that were published first have this leaf, and no network
# uses it.
_IGNORED = {
  'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'
}


class Leaf(NamedTuple):
  """One parameter.

  Attributes:
    ours: its path in our tree, unrolled.
    theirs: its name in their state.
    shape: its shape in our tree.
  """

  ours: str
  theirs: str
  shape: tuple[int, ...]

  @property
  def is_transposed(self) -> bool:
    return self.ours.rpartition('/')[2] in ('kernel', 'rel_embedding')


def is_checkpoint(path: epath.PathLike) -> bool:
  """Whether the folder of a model lies there."""
  return buckets.exists(posixpath.join(path, CONFIG))


def leaves(network: T5Config) -> Iterator[Leaf]:
  """Every parameter of a network, without its adapters."""
  D = network.emb_dim
  yield Leaf(TOKEN_EMBEDDING, _SHARED, (network.vocab_size, D))
  for stack in names.STACKS:
    bias = 'block.0.layer.0.SelfAttention.relative_attention_bias.weight'
    yield Leaf(
      f'{stack}/relpos_bias/rel_embedding',
      f'{stack}.{bias}',
      (network.num_heads, network.relative_attention_num_buckets),
    )
    yield Leaf(
      f'{stack}/{stack}_norm/scale', f'{stack}.final_layer_norm.weight', (D,)
    )
  for x in names.sublayers(network):
    yield Leaf(f'{x.our_norm}/scale', f'{x.their_norm}.weight', (D,))
  for x in names.projections(network):
    path = f'{x.sublayer}/{x.site}/kernel'
    yield Leaf(path, f'{x.theirs}.weight', x.shape)
  if not network.logits_via_embedding:
    yield Leaf(HEAD, _LM_HEAD, (D, network.vocab_size))


def read(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Reads path to leaf of all parameters; see `arrays`."""
  return lazy_arrays.read_all(arrays(path))


def arrays(path: epath.PathLike) -> dict[str, Stored]:
  """Opens the weights: path to leaf, unrolled, in the types of the files.

  Raises:
    UserError: if a file cannot be read, or its leaves are not those of the
      network in config.json; the message names the leaf and the file.
  """
  network = config.network(path)
  weights = open_weights(path)
  found = weights.arrays
  _join_copies(weights, network.logits_via_embedding)
  values = config.load(path)
  if not network.logits_via_embedding and values.get(config.TIED, True):
    # transformers 5 can tie a head that it does not scale. It then saves one
    # copy, where our network has two leaves.
    found.setdefault(_LM_HEAD, found[_SHARED])
  wanted = list(leaves(network))
  missing = [x.theirs for x in wanted if x.theirs not in found]
  if missing:
    raise UserError(
      f'{weights.file(missing[0])} lacks {some(missing)}, which the network '
      f'in {CONFIG} has. It may be cut off, or of another model.'
    )
  known = {x.theirs for x in wanted} | _IGNORED
  if unknown := sorted(found.keys() - known):
    raise UserError(
      f'{weights.file(unknown[0])} has, beyond what the network in '
      f'{CONFIG} takes, {some(unknown)}.'
    )
  result = {}
  for leaf in wanted:
    value = found[leaf.theirs]
    shape = leaf.shape[::-1] if leaf.is_transposed else leaf.shape
    if value.shape != shape:
      raise UserError(
        f'{leaf.theirs} of {weights.file(leaf.theirs)} is {value.shape}; by '
        f'{CONFIG} it should be {shape}.'
      )
    result[leaf.ours] = value.T if leaf.is_transposed else value
  return result


def write(
  folder: str,
  params: Mapping[str, np.ndarray],
  network: T5Config,
  overwrite: bool = False,
) -> None:
  """Writes a folder that transformers' `from_pretrained` loads.

  Args:
    folder: must not exist.
    params: path to leaf, unrolled, in the types to save them in. Such a model
      has no adapters.
    network: the network that they are of.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists, or the leaves are not the network's.
  """
  wanted = list(leaves(network))
  shapes = {path: tuple(leaf.shape) for path, leaf in params.items()}
  differing = {(x.ours, x.shape) for x in wanted} ^ set(shapes.items())
  if differing:
    raise UserError(
      f'Not written, as these are not the leaves of the network: '
      f'{some(sorted({path for path, _ in differing}))}.'
    )
  dtypes = {leaf.dtype.name for leaf in params.values()}
  if not dtypes <= set(WEIGHT_DTYPES):
    raise UserError(
      f'Not written, as leaves are of {", ".join(sorted(dtypes))}; '
      f'{", ".join(WEIGHT_DTYPES)} can be.'
    )
  state = {
    x.theirs: np.ascontiguousarray(
      params[x.ours].T if x.is_transposed else params[x.ours]
    )
    for x in wanted
  }
  described = config.describe(network, params[TOKEN_EMBEDDING].dtype.name)
  with files.new(folder, overwrite) as partial:
    text = json_text.dumps(described, indent=2)
    (partial / CONFIG).write_text(text + '\n')
    safetensors_files.write(partial / SAFETENSORS, state, {'format': 'pt'})


class _Model(BaseFormat):
  """The folder of a model of Hugging Face's."""

  name = "model of Hugging Face's"

  def is_at(self, path: str) -> bool:
    return is_checkpoint(path)

  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    return arrays(path)

  def network(self, path: str) -> Mapping[str, Any]:
    return to_json(config.network(path))

  def check(self, path: str, wanted: T5Config, given: str) -> None:
    config.check(path, wanted)

  def text(self, path: str) -> dict[str, Any]:
    # T5 as Hugging Face has it was trained on inputs that end with EOS.
    return {'inputs_eos': True, **tokenizer.describe(path)}


FORMAT = _Model()


def _join_copies(weights: Weights, tied: bool) -> None:
  """Keeps one copy of the token embedding, under the name `shared.weight`.

  Args:
    weights: what was found; it is changed.
    tied: whether the head is a copy, too.
  """
  found = weights.arrays
  copies = [_SHARED, *_COPIES, *([_LM_HEAD] if tied else [])]
  present = [name for name in copies if name in found]
  if not present:
    raise UserError(
      f'{weights.file(_SHARED)} lacks {_SHARED}, the token embedding. It may '
      'be cut off, or of another model.'
    )
  first = found[present[0]]
  for name in present[1:]:
    if not _are_equal(found[name].read(), first.read()):
      raise UserError(
        f'{name} of {weights.file(name)} differs from {present[0]}; by '
        f'{CONFIG} it should be a copy of it.'
      )
    del found[name]
  found[_SHARED] = found.pop(present[0])


def _are_equal(one: np.ndarray, other: np.ndarray) -> bool:
  if one.dtype != other.dtype or one.shape != other.shape:
    return False
  as_bytes = lambda x: np.ascontiguousarray(x).view(np.uint8)
  return np.array_equal(as_bytes(one), as_bytes(other))
