"""Adapters as a small folder to hand on: what a run trained, and on what.

  adapter_model.safetensors  every leaf under its path, layers apart
  adapter_config.json        method, sizes of the network, base, training, text
  spiece.model               the vocabulary, where SentencePiece has it
  torch_adapters.py          puts them on Hugging Face's T5, without JAX
  README.md                  a model card

Anything that names a run for evaluation or inference may name such a folder.
The first two names are those of PEFT. PEFT does not mistake such a folder for
its own: it misses `peft_type` in the configuration, and ends with an error.
"""

import dataclasses
import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.checkpoints import buckets, safetensors_files, torch_file
from moe_lite.checkpoints.description import (
  FORMAT_NAME,
  VERSION,
  Description,
)
from moe_lite.checkpoints.format import Format, Found
from moe_lite.checkpoints.hugging_face import hub
from moe_lite.checkpoints.hugging_face.file_names import VOCABULARY
from moe_lite.checkpoints.leaf_shapes import shapes
from moe_lite.checkpoints.model_card import (
  EVALUATIONS,
  ROUTING,
  write_card,
)
from moe_lite.core import files, integrity, json_text, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.types import Tree

WEIGHTS = 'adapter_model.safetensors'
CONFIG = 'adapter_config.json'
CARD = 'README.md'
# The index of a library of such folders, and where they lie in it.
LIBRARY, EXPERTS = 'library.json', 'experts'
# What the configuration always has, and of which type it is.
_TYPES = {
  'version': int,
  'step': int,
  'base': dict,
  'method': dict,
  'network': dict,
  'trainable': str,
  'training': dict,
  'text': dict,
  'tree': dict,
}


def local(path: str) -> str:
  """Where adapters lie: their path, or where a hub's were downloaded to."""

  def wanted(names: Sequence[str]) -> list[str] | None:
    if LIBRARY in names:  # A library of experts, each of them such a folder.
      parts = [x for x in names if x.startswith(f'{EXPERTS}/')]
      return [LIBRARY, *parts]
    has_both = {CONFIG, WEIGHTS} <= set(names)
    return [CONFIG, WEIGHTS, VOCABULARY] if has_both else None

  return hub.fetch(path, wanted, f'{CONFIG} or {WEIGHTS}', CONFIG) or path


def is_exported(path: str) -> bool:
  """Whether adapters of this form lie there; PEFT's have files of its names."""
  contents = buckets.read(posixpath.join(path, CONFIG))
  if contents is None:
    return False
  try:
    return json.loads(contents).get('format') == FORMAT_NAME
  except (ValueError, AttributeError):
    return False


def save(
  folder: str,
  trainable: Tree,
  description: Description,
  training: Mapping[str, Any],
  vocabulary: bytes | None = None,
  text: Mapping[str, Any] | None = None,
  overwrite: bool = False,
) -> None:
  """Writes adapters, which appear whole or not at all.

  Args:
    folder: must not exist.
    trainable: what `runs.restore_trainable` gave, unrolled.
    description: what it gave beside that, with a network; what describes the
      training loop is left out, and `tree` is that of the leaves.
    training: what to say of the run, for people to read; see `write_card`.
      Evaluations and the routing of other leaves than these are left out.
    vocabulary: a SentencePiece model.
    text: how texts became ids; see `inference.vocabulary.Text`.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists, or a leaf is not finite.
  """
  leaves = {
    path: np.ascontiguousarray(leaf)
    for path, leaf in sorted(parameters.flatten(trainable).items())
  }
  for path, leaf in leaves.items():
    integrity.check_finite('What should be written', path, leaf)
  training = dict(training)
  if EVALUATIONS in training or ROUTING in training:
    fingerprint = parameters.fingerprint(trainable)
    told = training.get(EVALUATIONS, ())
    training[EVALUATIONS] = [x for x in told if x['of'] == fingerprint]
    if training.get(ROUTING, {}).get('of') != fingerprint:
      training.pop(ROUTING, None)
  description = dataclasses.replace(
    description,
    tree=shapes(leaves),
    hashes=_digests(leaves),
    optimizer=None,
    data=None,
    batches=None,
    settings=None,
    metrics=None,
    training=training,
    text=dict(text or {}),
    version=VERSION,
  )
  with files.new(folder, overwrite) as partial:
    safetensors_files.write(partial / WEIGHTS, leaves)
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
    if _serves_torch(description):
      (partial / torch_file.TORCH).write_text(torch_file.contents())
    for file, contents in _texts(folder, leaves, description).items():
      (partial / file).write_text(contents)


def describe(path: str) -> Description:
  """What adapters say of themselves.

  Raises:
    UserError: if the file is damaged, or of a newer version.
  """
  file = epath.Path(path) / CONFIG
  try:
    written = json.loads(file.read_text())
    # The first exports had neither.
    said = {'training': {}, 'text': {}, **written}
  except (OSError, TypeError, ValueError) as error:
    raise UserError(f'{file} cannot be read: {error}.') from error
  for name, kind in _TYPES.items():
    if not isinstance(said.get(name), kind):
      raise UserError(
        f'{file} is damaged: its {name} is {said.get(name)!r}. Export or '
        'fetch it again.'
      )
  if not {'source', 'fingerprint'} <= said['base'].keys():
    raise UserError(f'{file} is damaged: it does not say which base it is on.')
  if said['version'] > VERSION:
    raise UserError(
      f'{file} has version {said["version"]}, and this package reads up to '
      f'{VERSION}: install a newer moe_lite.'
    )
  integrity.unseal(written, str(file))
  try:
    return Description.from_json(said)
  except UserError:
    raise
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{file} is damaged: {type(error).__name__} {error}. Export or fetch it '
      'again.'
    ) from error


def load(path: str) -> tuple[Tree, Description]:
  """Reads adapters; see `runs.restore_trainable` for what it returns.

  Raises:
    UserError: if a file is missing, damaged or of a newer version, or its
      leaves are not those that the configuration lists.
  """
  description = describe(path)
  weights = epath.Path(path) / WEIGHTS
  leaves = safetensors_files.read(weights)
  found, wanted = shapes(leaves), description.tree
  for name in sorted(found.keys() | wanted.keys()):
    if found.get(name) != wanted.get(name):
      raise UserError(
        f'{weights}: {name} is {_say(found.get(name))}, but '
        f'{_say(wanted.get(name))} in {CONFIG}. Export or fetch both again.'
      )
  if description.hashes is not None:
    saved = integrity.check_given(f'{path}/{CONFIG}', description.hashes)
    integrity.check_same(str(weights), saved, _digests(leaves))
  for name, leaf in leaves.items():
    integrity.check_finite(str(weights), name, leaf)
  return parameters.unflatten(leaves), description


def note(folder: str, rows: Mapping[str, Any]) -> None:
  """Adds to what a folder says of its training, and to its card.

  Args:
    folder: that `save` wrote.
    rows: more of `training`.

  Raises:
    UserError: see `load`.
  """
  tree, description = load(folder)
  training = {**(description.training or {}), **rows}
  description = dataclasses.replace(description, training=training)
  leaves = parameters.flatten(tree)
  for file, contents in _texts(folder, leaves, description).items():
    replace_text(epath.Path(folder) / file, contents)


class _Exported(Format):
  """A folder of this form."""

  name = 'exported adapters'

  def is_at(self, path: str) -> bool:
    return is_exported(path)

  def inspect(self, path: str) -> Found:
    return Found.of_trained(self.name, *load(path))

  def describe(self, path: str, step: int | None = None) -> Description:
    return describe(path)

  def trained(
    self, path: str, step: int | None = None, assumed: Description | None = None
  ) -> tuple[Tree, Description]:
    return load(path)


FORMAT = _Exported()


def _texts(
  folder: str, leaves: Mapping[str, Any], description: Description
) -> dict[str, str]:
  """File to contents, of the configuration and the card."""
  said = integrity.seal(description.to_json())
  config = json_text.dumps(said, indent=2) + '\n'
  count = parameters.count(list(leaves.values()))
  name = epath.Path(folder).name
  card = write_card(name, description, count, _serves_torch(description))
  return {CONFIG: config, CARD: card}


def _digests(leaves: Mapping[str, np.ndarray]) -> dict[str, str]:
  return {path: parameters.digest(path, x).hex() for path, x in leaves.items()}


def _serves_torch(description: Description) -> bool:
  assert description.method.network is not None
  return torch_file.serves(description.tree, description.method.network)


def _say(leaf: Any) -> str:
  return 'absent' if leaf is None else f'{leaf[1]} {leaf[0]}'
