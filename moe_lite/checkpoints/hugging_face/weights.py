"""The files that Hugging Face keeps a model's weights in, of four formats.

Each may be one file, or several and an index: JSON whose `weight_map` says
which leaf lies in which. Leaves are named as torch names them, and lie as it
lays them, whatever format they come from.
"""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping

import flax.serialization
import ml_dtypes
import numpy as np
from etils import epath
from flax import traverse_util

from moe_lite.checkpoints import safetensors_files
from moe_lite.checkpoints.hugging_face.file_names import (
  FLAX,
  INDEX,
  SAFETENSORS,
  TORCH,
  WEIGHTS,
  choose,
)
from moe_lite.checkpoints.lazy_arrays import Stored, held
from moe_lite.core.errors import UserError

# The types in which weights may be saved.
WEIGHT_DTYPES = ('bfloat16', 'float16', 'float32')
# The last part of a leaf's path that Flax has where torch has 'weight'.
_FLAX_LEAVES = ('kernel', 'embedding', 'weight')


@dataclasses.dataclass
class Weights:
  """Leaves of one model.

  Attributes:
    arrays: by their name.
    files: which file each lies, or should lie, in.
    default: the file to name of a leaf that is in none.
  """

  arrays: dict[str, Stored]
  files: dict[str, epath.Path]
  default: epath.Path

  def file(self, leaf: str) -> epath.Path:
    return self.files.get(leaf, self.default)


def open_weights(folder: epath.PathLike) -> Weights:
  """Opens the first format of `FORMATS` that is there.

  Raises:
    UserError: if there is none, or a file is missing, cut off or of another
      kind.
  """
  folder = epath.Path(folder)
  present = {path.name for path in folder.iterdir()}
  main = choose(present)
  if main is None:
    raise UserError(
      f'{folder} has no weights: none of {", ".join(WEIGHTS)}, nor an index '
      f'of one (such as {SAFETENSORS}{INDEX}).'
    )
  load = _READERS[main.removesuffix(INDEX)]
  if not main.endswith(INDEX):
    leaves = load(folder / main)
    files = dict.fromkeys(leaves, folder / main)
    return _checked(Weights(leaves, files, folder / main))
  weight_map = _weight_map(folder / main)
  files = {leaf: folder / name for leaf, name in weight_map.items()}
  leaves: dict[str, Stored] = {}
  for name in sorted(set(weight_map.values())):
    if not (folder / name).is_file():
      raise UserError(
        f'{folder / name} is missing, in which {main} places '
        f'{sum(name == x for x in weight_map.values())} leaves. Fetch it.'
      )
    leaves |= load(folder / name)
  return _checked(Weights(leaves, files, folder / main))


def _checked(weights: Weights) -> Weights:
  for name, leaf in weights.arrays.items():
    if leaf.dtype.name not in WEIGHT_DTYPES:
      raise UserError(
        f'{name} of {weights.file(name)} is of the type {leaf.dtype.name}; '
        f'read are {", ".join(WEIGHT_DTYPES)}.'
      )
  return weights


def _weight_map(path: epath.Path) -> Mapping[str, str]:
  try:
    weight_map = json.loads(path.read_text())['weight_map']
    # Names of files beside it, whoever wrote it.
    plain = all('/' not in name for name in weight_map.values())
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{path} is no index of weights: {type(error).__name__}: {error}.'
    ) from error
  if not plain:
    raise UserError(f'{path} names files that do not lie beside it.')
  return {_torch_name(leaf): name for leaf, name in weight_map.items()}


def _torch_name(leaf: str) -> str:
  """'encoder/block/0/.../q/kernel' as torch names it; its own names as is."""
  if '/' not in leaf:
    return leaf
  *path, last = leaf.split('/')
  return '.'.join([*path, 'weight' if last in _FLAX_LEAVES else last])


def _read_flax(path: epath.Path) -> dict[str, Stored]:
  """Parameters that transformers' Flax classes saved: kernels [in, out]."""
  try:
    state = flax.serialization.msgpack_restore(path.read_bytes())
    leaves = traverse_util.flatten_dict(state, sep='/')
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
  except Exception as error:  # msgpack raises many kinds.
    raise UserError(
      f"{path} is not Flax's: {type(error).__name__}: {error}. It may be cut "
      'off; fetch it again.'
    ) from error
  return {
    _torch_name(name): held(leaf.T if name.endswith('/kernel') else leaf)
    for name, leaf in arrays.items()
  }


def _read_torch(path: epath.Path) -> dict[str, Stored]:
  try:
    # In an extra, which a type checker may lack.
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise UserError(
      f"{path} is torch's, which is not installed: pip install "
      "'moe_lite[hf]', or give a folder with model.safetensors."
    ) from error

  def convert(leaf: torch.Tensor) -> np.ndarray:
    if leaf.dtype != torch.bfloat16:
      return leaf.numpy()
    # NumPy does not know this type by itself.
    return leaf.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)

  with contextlib.ExitStack() as stack:
    local = path
    if '://' in str(path):
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      local = path.copy(epath.Path(folder) / path.name)
    try:
      # Tensors alone: nothing that the file could have executed.
      state = torch.load(str(local), map_location='cpu', weights_only=True)
      return {name: held(convert(leaf)) for name, leaf in state.items()}
    except Exception as error:  # torch raises many kinds.
      raise UserError(
        f'{path} is no state that torch saved: '
        f'{str(error).strip().partition(chr(10))[0]}'
      ) from error


_READERS: dict[str, Callable[[epath.Path], dict[str, Stored]]] = {
  SAFETENSORS: safetensors_files.arrays,
  FLAX: _read_flax,
  TORCH: _read_torch,
}
