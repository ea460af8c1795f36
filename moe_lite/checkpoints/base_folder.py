"""A base in the package's own form.

It is a folder with `model.safetensors` (layers apart, bfloat16 or float32) and
`metadata.json`; or such a safetensors file alone.
"""

import posixpath
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from moe_lite.checkpoints import buckets, safetensors_files
from moe_lite.checkpoints.format import BaseFormat
from moe_lite.checkpoints.hugging_face.file_names import CONFIG, VOCABULARY
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.checkpoints.metadata import DIGESTS, METADATA, read_metadata
from moe_lite.core import files, integrity, json_text, parameters
from moe_lite.core.errors import Damaged, UserError
from moe_lite.core.types import Tree

WEIGHTS = 'model.safetensors'
# The types in which a base may be written.
DTYPES = ('bfloat16', 'float32')
# What the file of the leaves says of itself.
_DESCRIBED = 'described in'
_MARK = {_DESCRIBED: METADATA}


def save_base(
  folder: str,
  params: Tree,
  metadata: Mapping[str, Any],
  vocabulary: bytes | None = None,
  overwrite: bool = False,
) -> None:
  """Writes a base, layers apart, which appears whole or not at all.

  Args:
    folder: must not exist.
    params: bfloat16 or float32, in loop or scan form.
    metadata: what to say of it, for JSON; its fingerprint and the hashes of its
      leaves are added.
    vocabulary: a SentencePiece model.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists, or a leaf is not finite.
  """
  host = jax.tree.map(np.asarray, jax.device_get(params))
  tree = parameters.unstack_layers(host)
  leaves = {
    path: np.ascontiguousarray(leaf)
    for path, leaf in sorted(parameters.flatten(tree).items())
  }
  for path, leaf in leaves.items():
    integrity.check_finite('What should be written', path, leaf)
  digests = {path: parameters.digest(path, x) for path, x in leaves.items()}
  metadata = {
    **metadata,
    'fingerprint': parameters.combine(digests),
    DIGESTS: {path: digest.hex() for path, digest in digests.items()},
  }
  with files.new(folder, overwrite) as partial:
    safetensors_files.write(partial / WEIGHTS, leaves, _MARK)
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
    (partial / METADATA).write_text(
      json_text.dumps(integrity.seal(metadata), indent=2) + '\n'
    )


class _Folder(BaseFormat):
  """A folder of this form."""

  name = 'base'

  def is_at(self, path: str) -> bool:
    return buckets.exists(posixpath.join(path, WEIGHTS))

  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    found, said = _arrays(posixpath.join(path, WEIGHTS))
    beside = said.get(_DESCRIBED)
    if beside and not buckets.exists(posixpath.join(path, METADATA)):
      raise Damaged(
        f'{path} lacks {METADATA}, which was written beside {WEIGHTS}. Write '
        'or fetch it again.'
      )
    return found

  def digests(self, path: str) -> Mapping[str, str] | None:
    return read_metadata(path).get(DIGESTS)

  def fingerprint(self, path: str) -> str | None:
    return read_metadata(path).get('fingerprint')

  def facts(self, path: str) -> dict[str, Any]:
    said = read_metadata(path)
    return {name: x for name, x in said.items() if name != DIGESTS}


class _File(BaseFormat):
  """A safetensors file alone."""

  name = 'file of a base'

  def is_at(self, path: str) -> bool:
    return buckets.exists(path)

  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    return _arrays(path)[0]


FOLDER = _Folder()
FILE = _File()


def _arrays(path: str) -> tuple[dict[str, Stored], Mapping[str, str]]:
  found, said = safetensors_files.described(path)
  # Each layer of theirs has norms of this name, and no layer of ours.
  if any(name.endswith('layer_norm.weight') for name in found):
    raise UserError(
      f"{path} has Hugging Face's names of leaves: give its folder, with "
      f'{CONFIG} in it.'
    )
  return found, said
