"""Translates between PEFT's leaves at modules and ours at sites.

A LoRA pair is [R, in] and [out, R] there, and [in, R] and [R, out] here. An IA3
vector is [out, 1] there. Where it scales what a module reads, it is [1, in]:
our vector at `intermediate` scales what `wo` reads.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from moe_lite.checkpoints.hugging_face import names
from moe_lite.checkpoints.peft import config
from moe_lite.core.errors import UserError
from moe_lite.core.types import ADAPTER_SUFFIX
from moe_lite.t5.config import T5Config

_PREFIX = 'base_model.model.'
# The ends of PEFT's names of the leaves at a module, and our names of the same
# leaves, in one order.
_ENDS = {
  config.IA3: ('ia3_l',),
  config.LORA: ('lora_A.weight', 'lora_B.weight'),
}
LEAVES = {config.IA3: ('scale',), config.LORA: ('a', 'b')}


def their_names(kind: str, module: str) -> list[str]:
  """PEFT's names of the leaves at a module, in the order of `LEAVES`."""
  return [f'{_PREFIX}{module}.{end}' for end in _ENDS[kind]]


def sites_at(x: names.Projection) -> tuple[str, ...]:
  """Our sites whose adapters PEFT places at the module of a projection."""
  return (x.site, 'intermediate') if x.site == 'wo' else (x.site,)


def path_of(sublayer: str, site: str, leaf: str) -> str:
  """The path of our leaf: 'encoder/layers_0/attention/query_adapter/a'."""
  return f'{sublayer}/{site}{ADAPTER_SUFFIX}/{leaf}'


def to_theirs(kind: str, site: str, leaf: np.ndarray) -> np.ndarray:
  """Our leaf in PEFT's layout.

  Args:
    kind: IA3 or LORA.
    site: where the adapter stands.
    leaf: a matrix of LoRA's, or a vector of IA3's; a vector of heads is [H, K].
  """
  if kind == config.LORA:
    return leaf.T
  return leaf.reshape((1, -1) if site == 'intermediate' else (-1, 1))


def take(
  found: dict[str, np.ndarray],
  x: names.Projection,
  values: Mapping[str, Any],
  network: T5Config,
  path: epath.Path,
) -> tuple[str, tuple[int, float] | None, list[np.ndarray]] | None:
  """Takes a module's leaves out of what a file has.

  Args:
    found: their name to array; what is taken is removed.
    x: the module.
    values: from `config.load`.
    network: the network that the module is part of.
    path: the path of the file, for messages.

  Returns:
    Our site; the rank and alpha of a LoRA; and the leaves in our layout. None
    where PEFT places nothing.

  Raises:
    UserError: if leaves are missing or of other shapes, or if we have no such
      site.
  """
  kind = values[config.TYPE]
  wanted = their_names(kind, x.theirs)
  missing = [name for name in wanted if name not in found]
  targeted = config.is_targeted(values, x.theirs)
  is_absent = len(missing) == len(wanted)
  if not targeted or (is_absent and values.get('layers_to_transform')):
    return None
  if missing:
    raise UserError(
      f'{path} lacks {missing[0]}, where {config.FILE} places an adapter. It '
      'may be cut off, or stand on a model of another size.'
    )
  leaves = [found.pop(name) for name in wanted]
  inside, out = x.shape
  if kind == config.LORA:
    R = config.rank(values, x.theirs)
    _check_shapes(path, wanted, leaves, [(R, inside), (out, R)])
    pair = R, config.alpha(values, x.theirs)
    return x.site, pair, [leaf.T for leaf in leaves]
  site = x.site
  if leaves[0].shape == (1, inside):
    if x.site != 'wo':
      raise UserError(
        f'{wanted[0]} of {path} scales what the module reads '
        '(feedforward_modules); moe_lite can do so only at wo.'
      )
    return 'intermediate', None, [leaves[0].reshape(inside)]
  _check_shapes(path, wanted, leaves, [(out, 1)])
  heads = network.num_heads, network.head_dim
  shape = heads if len(network.sites[site].out_axes) == 2 else (out,)
  return site, None, [leaves[0].reshape(shape)]


def _check_shapes(
  path: epath.Path,
  wanted: list[str],
  leaves: list[np.ndarray],
  shapes: list[tuple[int, int]],
) -> None:
  for name, leaf, shape in zip(wanted, leaves, shapes, strict=True):
    if leaf.shape != shape:
      raise UserError(
        f'{name} of {path} is {leaf.shape}; by {config.FILE} and the base it '
        f'should be {shape}.'
      )
