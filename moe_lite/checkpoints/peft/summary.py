"""Reads a folder of PEFT's without knowing the network of its adapters."""

import re
from typing import Any

import numpy as np
from etils import epath

from moe_lite.checkpoints import safetensors_files
from moe_lite.checkpoints.format import Format, Found
from moe_lite.checkpoints.hugging_face.weights import WEIGHT_DTYPES
from moe_lite.checkpoints.peft.config import TYPE, is_peft, load
from moe_lite.core import integrity
from moe_lite.core.errors import UserError

WEIGHTS = 'adapter_model.safetensors'
_BY_TORCH = 'adapter_model.bin'
# A leaf with the name of its adapter.
_NAMED = re.compile(
  r'(?P<start>.*\.(?:lora_[AB]|ia3_l))\.(?P<name>(?!weight$)[^.]+)'
  r'(?P<end>(?:\.weight)?)'
).fullmatch
# The options that `convert inspect` shows, where they are set.
_SHOWN = (
  'base_model_name_or_path',
  'target_modules',
  'feedforward_modules',
  'r',
  'lora_alpha',
)


def summary(
  folder: str,
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
  """Reads a folder.

  Returns:
    The type of the adapters, as PEFT calls it; the leaves by PEFT's names; and
    the most telling options.

  Raises:
    UserError: if a file is missing or damaged, or has an option that is not
      understood.
  """
  values = load(folder)
  facts = {name: values[name] for name in _SHOWN if values.get(name)}
  return values[TYPE], read_weights(epath.Path(folder) / WEIGHTS), facts


def read_weights(path: epath.Path) -> dict[str, np.ndarray]:
  """Reads name to array; raises UserError for a file that is not PEFT's."""
  if not path.is_file():
    hint = ''
    if (path.parent / _BY_TORCH).is_file():
      hint = (
        f' {_BY_TORCH} is not read: let PEFT save it anew, with '
        'safe_serialization=True.'
      )
    raise UserError(f'{path} is missing.{hint}')
  found = _without_name(path, safetensors_files.read(path))
  for name, leaf in found.items():
    if leaf.dtype.name not in WEIGHT_DTYPES:
      raise UserError(
        f'{name} of {path} is of the type {leaf.dtype.name}; the types that '
        f'can be read are {", ".join(WEIGHT_DTYPES)}.'
      )
    integrity.check_finite(str(path), name, leaf)
  return found


def _without_name(
  path: epath.Path, found: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Takes the adapter's name out of leaves that were saved with it.

  PEFT saves 'lora_A.weight', and other programs what PEFT has in memory,
  'lora_A.default.weight'.
  """
  matches = {name: _NAMED(name) for name in found}
  named = {match['name'] for match in matches.values() if match}
  if len(named) > 1:
    raise UserError(
      f'{path} holds several adapters: {", ".join(sorted(named))}. Let PEFT '
      "save one of them: save_pretrained(..., selected_adapters=['NAME'])."
    )
  return {
    match['start'] + match['end'] if match else name: found[name]
    for name, match in matches.items()
  }


class _Peft(Format):
  """A folder that PEFT saved."""

  name = "adapters of PEFT's"

  def is_at(self, path: str) -> bool:
    return is_peft(path)

  def inspect(self, path: str) -> Found:
    kind, leaves, facts = summary(path)
    return Found.of_tree(f"{kind} of PEFT's", leaves, facts)

  def says(self, path: str) -> dict[str, Any]:
    return load(path)


FORMAT = _Peft()
