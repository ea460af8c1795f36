"""Adapters as a small folder to hand on: what a run trained, and on what.

  adapter_model.safetensors  every leaf under its path, layers apart
  adapter_config.json        method, sizes of the network, base, training, text
  spiece.model               the vocabulary, where SentencePiece has it
  README.md                  a model card

Anything that names a run for evaluation or inference may name such a folder.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from moe_lite import parameters
from moe_lite.checkpoints import (
  folders,
  hugging_face_files,
  hugging_face_hub,
)
from moe_lite.errors import UserError
from moe_lite.types import Tree

WEIGHTS = 'adapter_model.safetensors'
CONFIG = 'adapter_config.json'
VOCABULARY = hugging_face_files.VOCABULARY
CARD = 'README.md'
FORMAT = 'moe_lite'
VERSION = 1

_CARD = """\
---
library_name: moe_lite
tags: [adapter, mixture-of-experts, t5]
---

# {name}

Adapters for a frozen T5, made with moe_lite: {count:,} parameters at
{sites}.

| | |
|---|---|
{rows}

They stand on the base named above and on no other; its fingerprint is checked
when they are loaded, as by `moe_lite.load(base, adapters)` in Python. Name this
folder where a run is asked for:

```
python -m moe_lite.eval ... --gin.CHECKPOINT_PATH="'{name}'" \\
  --gin.INITIAL_CHECKPOINT_PATH="'...'"
```
"""


def local(path: str) -> str:
  """Where adapters lie: their path, or where a hub's were downloaded to."""
  if not hugging_face_hub.is_address(path):
    return path

  def wanted(names: Sequence[str]) -> list[str] | None:
    has_both = {CONFIG, WEIGHTS} <= set(names)
    return [CONFIG, WEIGHTS, VOCABULARY] if has_both else None

  return hugging_face_hub.download(
    path, wanted, f'{CONFIG} or {WEIGHTS}', CONFIG
  )


def is_portable(path: str) -> bool:
  """Whether adapters of this form lie there; other formats share the names."""
  config = epath.Path(path) / CONFIG
  if not config.is_file():
    return False
  try:
    return json.loads(config.read_text()).get('format') == FORMAT
  except (ValueError, AttributeError):
    return False


def save(
  folder: str,
  trainable: Tree,
  description: Mapping[str, Any],
  training: Mapping[str, Any],
  vocabulary: bytes | None = None,
  overwrite: bool = False,
  text: Mapping[str, Any] | None = None,
) -> None:
  """Writes adapters, under a temporary name first.

  Args:
    folder: must not exist.
    trainable: what `own.restore_trainable` gave, unrolled.
    description: likewise; that of the optimizer's state is left out.
    training: what to say of the run, for JSON.
    vocabulary: a SentencePiece model.
    overwrite: replace what stands there.
    text: how it became ids, see `moe_lite.vocabulary.Text`.

  Raises:
    UserError: if the folder exists.
  """
  leaves = {
    path: np.ascontiguousarray(leaf)
    for path, leaf in sorted(parameters.flatten(trainable).items())
  }
  kept = ('step', 'base', 'method', 'network', 'trainable', 'tree')
  config = {
    'format': FORMAT,
    'version': VERSION,
    'training': dict(training),
    'text': dict(text or {}),
    **{key: description[key] for key in kept},
  }
  with folders.new(folder, overwrite) as partial:
    (partial / WEIGHTS).write_bytes(safetensors.numpy.save(leaves))
    (partial / CONFIG).write_text(json.dumps(config, indent=2) + '\n')
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
    (partial / CARD).write_text(_card(folder, leaves, config))


def describe(path: str) -> dict[str, Any]:
  """What adapters say of themselves.

  Raises:
    UserError: if they are of a newer version.
  """
  file = epath.Path(path) / CONFIG
  config = json.loads(file.read_text())
  if config['version'] > VERSION:
    raise UserError(
      f'{file} has version {config["version"]}, and this package reads up to '
      f'{VERSION}: install a newer moe_lite.'
    )
  return config


def load(path: str) -> tuple[Tree, dict[str, Any]]:
  """Reads adapters; see `own.restore_trainable` for what it returns.

  Raises:
    UserError: if a file is missing, damaged or of a newer version, or its
      leaves are not those that the configuration lists.
  """
  folder = epath.Path(path)
  config = describe(path)
  weights = folder / WEIGHTS
  try:
    leaves = safetensors.numpy.load(weights.read_bytes())
  except OSError as error:
    raise UserError(f'{weights} cannot be read: {error}.') from error
  except safetensors.SafetensorError as error:
    raise UserError(
      f'{weights} is damaged: {error}. Export or fetch it again.'
    ) from error
  found = {
    name: [list(x.shape), np.dtype(x.dtype).name] for name, x in leaves.items()
  }
  for name in sorted(found.keys() | config['tree'].keys()):
    if found.get(name) != config['tree'].get(name):
      raise UserError(
        f'{weights}: {name} is {_say(found.get(name))}, but '
        f'{_say(config["tree"].get(name))} in {CONFIG}. Export or fetch both '
        'again.'
      )
  return parameters.unflatten(leaves), config


def _say(leaf: Any) -> str:
  return 'absent' if leaf is None else f'{leaf[1]} {leaf[0]}'


def _card(
  folder: str, leaves: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
  rows = {
    'base': f'{config["base"]["source"]}, fingerprint '
    f'{config["base"]["fingerprint"]}',
    **{f'at `{site}`': what for site, what in config['method'].items()},
    **config['training'],
  }
  return _CARD.format(
    name=epath.Path(folder).name,
    count=parameters.count(list(leaves.values())),
    sites=', '.join(f'`{site}`' for site in config['method']),
    rows='\n'.join(f'| {key} | {value} |' for key, value in rows.items()),
  )
