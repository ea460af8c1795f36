"""The weights of a model in Hugging Face's folder, in any of three formats.

Weights lie in one file, or in several files with an index: JSON whose
`weight_map` says in which file each leaf lies. Whatever the format, leaves get
the names and the layout that they have in torch.
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
  """The leaves of one model.

  Attributes:
    arrays: name to leaf.
    files: the name of a leaf to the file in which it lies, or should lie.
    default: the file to name in messages about any other leaf.
  """

  arrays: dict[str, Stored]
  files: dict[str, epath.Path]
  default: epath.Path

  def file(self, leaf: str) -> epath.Path:
    """The file to name in a message about a leaf."""
    return self.files.get(leaf, self.default)


def open_weights(folder: epath.PathLike) -> Weights:
  """Opens the weights of the first format that is there, by `WEIGHTS`.

  Raises:
    UserError: if there are no weights, or if a file is missing, cut off or of
      another kind.
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
        f'{folder / name} is missing. {main} places '
        f'{sum(name == x for x in weight_map.values())} leaves in it. Fetch it.'
      )
    leaves |= load(folder / name)
  return _checked(Weights(leaves, files, folder / main))


def _checked(weights: Weights) -> Weights:
  for name, leaf in weights.arrays.items():
    if leaf.dtype.name not in WEIGHT_DTYPES:
      raise UserError(
        f'{name} of {weights.file(name)} is of the type {leaf.dtype.name}; '
        f'the types that can be read are {", ".join(WEIGHT_DTYPES)}.'
      )
  return weights


def _weight_map(path: epath.Path) -> Mapping[str, str]:
  try:
    weight_map = json.loads(path.read_text())['weight_map']
    # Whoever wrote the index, it may name only files beside it.
    plain = all('/' not in name for name in weight_map.values())
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{path} is not an index of weights: {type(error).__name__}: {error}.'
    ) from error
  if not plain:
    raise UserError(f'{path} names files that do not lie beside it.')
  return {_torch_name(leaf): name for leaf, name in weight_map.items()}


def _torch_name(leaf: str) -> str:
  """Torch's name of a leaf of Flax's, such as 'encoder/block/0/.../q/kernel'.

  A name that is torch's already is returned as it is.
  """
  if '/' not in leaf:
    return leaf
  *path, last = leaf.split('/')
  return '.'.join([*path, 'weight' if last in _FLAX_LEAVES else last])


def _read_flax(path: epath.Path) -> dict[str, Stored]:
  """Reads what transformers' Flax classes saved, with kernels of [in, out]."""
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
    # It comes with an extra, which a type checker may lack.
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise UserError(
      f"{path} is torch's, which is not installed: pip install "
      "'moe_lite[hf]', or give a folder with model.safetensors."
    ) from error

  def convert(leaf: torch.Tensor) -> np.ndarray:
    if leaf.dtype != torch.bfloat16:
      return leaf.numpy()
    # torch cannot make a NumPy array of this type, which NumPy lacks.
    return leaf.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)

  with contextlib.ExitStack() as stack:
    local = path
    if '://' in str(path):
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      local = path.copy(epath.Path(folder) / path.name)
    try:
      # It reads tensors alone, and executes nothing that the file asks for.
      state = torch.load(str(local), map_location='cpu', weights_only=True)
      return {name: held(convert(leaf)) for name, leaf in state.items()}
    except Exception as error:  # torch raises many kinds.
      raise UserError(
        f'{path} is not a state that torch saved: '
        f'{str(error).strip().partition(chr(10))[0]}'
      ) from error


_READERS: dict[str, Callable[[epath.Path], dict[str, Stored]]] = {
  SAFETENSORS: safetensors_files.arrays,
  FLAX: _read_flax,
  TORCH: _read_torch,
}
