"""Adapters as a small folder to hand on: what a run trained, and on what.

  adapter_model.safetensors  every leaf under its path, layers apart
  adapter_config.json        method, sizes of the network, base, training, text
  spiece.model               the vocabulary, where SentencePiece has it
  torch_adapters.py          puts them on Hugging Face's T5, without JAX
  README.md                  a model card

Anything that names a run for evaluation or inference may name such a folder.
"""

import importlib.resources
import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from moe_lite.checkpoints import buckets, safetensors_files
from moe_lite.checkpoints.hugging_face import hub
from moe_lite.checkpoints.hugging_face.weights import VOCABULARY
from moe_lite.core import files, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.files import replace_text
from moe_lite.core.types import Tree

WEIGHTS = 'adapter_model.safetensors'
CONFIG = 'adapter_config.json'
TORCH = 'torch_adapters.py'
CARD = 'README.md'
FORMAT = 'moe_lite'
VERSION = 1
# What the description always has.
_KINDS = {
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
# Adapters and routers that the file for torch knows.
IN_TORCH = {'IA3', 'LoRA', 'MoV', 'MoLoRA', 'SoftRouter', 'TopKRouter'}
# And the fields of those routers.
_ROUTER_IN_TORCH = {'type', 'num_experts', 'jitter', 'k', 'renormalize'}

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
_CARD_OF_TORCH = """
With torch and transformers alone, on Hugging Face's form of that base, from
Python started in this folder:

```
import torch_adapters, transformers
network = transformers.T5ForConditionalGeneration.from_pretrained('...')
torch_adapters.attach(network)
network.generate(...)
```
"""


def local(path: str) -> str:
  """Where adapters lie: their path, or where a hub's were downloaded to."""
  if not hub.is_address(path):
    return path

  def wanted(names: Sequence[str]) -> list[str] | None:
    has_both = {CONFIG, WEIGHTS} <= set(names)
    return [CONFIG, WEIGHTS, VOCABULARY] if has_both else None

  return hub.download(path, wanted, f'{CONFIG} or {WEIGHTS}', CONFIG)


def is_portable(path: str) -> bool:
  """Whether adapters of this form lie there; other formats share the names."""
  contents = buckets.read(posixpath.join(path, CONFIG))
  if contents is None:
    return False
  try:
    return json.loads(contents).get('format') == FORMAT
  except (ValueError, AttributeError):
    return False


def save(
  folder: str,
  trainable: Tree,
  description: Mapping[str, Any],
  training: Mapping[str, Any],
  vocabulary: bytes | None = None,
  text: Mapping[str, Any] | None = None,
  overwrite: bool = False,
) -> None:
  """Writes adapters, under a temporary name first.

  Args:
    folder: must not exist.
    trainable: what `own.restore_trainable` gave, unrolled.
    description: likewise; that of the optimizer's state is left out, and
      `tree` is that of the leaves.
    training: what to say of the run, for JSON.
    vocabulary: a SentencePiece model.
    text: how texts became ids, see `moe_lite.vocabulary.Text`.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists.
  """
  leaves = {
    path: np.ascontiguousarray(leaf)
    for path, leaf in sorted(parameters.flatten(trainable).items())
  }
  kept = ('step', 'base', 'method', 'network', 'trainable')
  config = {
    'format': FORMAT,
    'version': VERSION,
    'training': dict(training),
    'text': dict(text or {}),
    **{key: description[key] for key in kept},
    'tree': _tree(leaves),
  }
  with files.new(folder, overwrite) as partial:
    safetensors_files.write(partial / WEIGHTS, leaves)
    (partial / CONFIG).write_text(json.dumps(config, indent=2) + '\n')
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
    if _fits_torch(leaves, config):
      (partial / TORCH).write_text(_torch_file())
    (partial / CARD).write_text(_card(folder, leaves, config))


def describe(path: str) -> dict[str, Any]:
  """What adapters say of themselves.

  Raises:
    UserError: if the file is damaged, or of a newer version.
  """
  file = epath.Path(path) / CONFIG
  try:
    # The first exports had neither.
    config = {'training': {}, 'text': {}, **json.loads(file.read_text())}
  except (OSError, TypeError, ValueError) as error:
    raise UserError(f'{file} cannot be read: {error}.') from error
  for name, kind in _KINDS.items():
    if not isinstance(config.get(name), kind):
      raise UserError(
        f'{file} is damaged: its {name} is {config.get(name)!r}. Export or '
        'fetch it again.'
      )
  if not {'source', 'fingerprint'} <= config['base'].keys():
    raise UserError(f'{file} is damaged: it does not say which base it is on.')
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
  leaves = safetensors_files.read(weights)
  found = _tree(leaves)
  for name in sorted(found.keys() | config['tree'].keys()):
    if found.get(name) != config['tree'].get(name):
      raise UserError(
        f'{weights}: {name} is {_say(found.get(name))}, but '
        f'{_say(config["tree"].get(name))} in {CONFIG}. Export or fetch both '
        'again.'
      )
  return parameters.unflatten(leaves), config


def note(folder: str, rows: Mapping[str, Any]) -> None:
  """Adds to what a folder says of its training, and to its card.

  Args:
    folder: that `save` wrote.
    rows: more of `training`.

  Raises:
    UserError: see `load`.
  """
  tree, config = load(folder)
  config['training'] |= rows
  leaves = parameters.flatten(tree)
  target = epath.Path(folder)
  replace_text(target / CONFIG, json.dumps(config, indent=2) + '\n')
  replace_text(target / CARD, _card(folder, leaves, config))


def _tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """Path to shape and type, as JSON holds them."""
  return {
    name: [list(x.shape), np.dtype(x.dtype).name] for name, x in leaves.items()
  }


def _torch_file() -> str:
  # Read, not imported: it needs torch.
  package = importlib.resources.files('moe_lite.checkpoints')
  return (package / TORCH).read_text(encoding='utf-8')


def _fits_torch(leaves: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
  """Whether nothing but adapters was trained, of types known there."""
  types = set()
  for described in config['network']['adapters'].values():
    types.add(described['type'])
    if 'router' in described:
      router = described['router']
      if not isinstance(router, Mapping):
        types.add(router)
        continue
      types.add(router['type'])
      if not router.keys() <= _ROUTER_IN_TORCH:
        return False
  return types <= IN_TORCH and all(map(parameters.is_adapter, leaves))


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
  card = _CARD + (_CARD_OF_TORCH if _fits_torch(leaves, config) else '')
  return card.format(
    name=epath.Path(folder).name,
    count=parameters.count(list(leaves.values())),
    sites=', '.join(f'`{site}`' for site in config['network']['adapters']),
    rows='\n'.join(f'| {key} | {value} |' for key, value in rows.items()),
  )
