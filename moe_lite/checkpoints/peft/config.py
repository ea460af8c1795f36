"""Reads and writes PEFT's adapter_config.json.

An option that is set and not known here is refused, because it may change what
the adapters compute. Options that only steer training are passed over.

Source: the options of PEFT's IA3Config and LoraConfig, version 0.21.
"""

import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from moe_lite.checkpoints import buckets
from moe_lite.core.errors import UserError

FILE = 'adapter_config.json'
IA3, LORA = 'IA3', 'LORA'
TYPE = 'peft_type'

# PEFT's rank and alpha of a LoRA whose file names none.
_DEFAULT_RANK = _DEFAULT_ALPHA = 8
# Options that may have any value. Some are read below; the others do not change
# what a trained adapter computes. (`fan_in_fan_out` is among them, because PEFT
# ignores it at torch's linear layers, and T5 has no others.)
_ANY_VALUE = {
  TYPE,
  'alpha_pattern',
  'auto_mapping',
  'base_model_name_or_path',
  'corda_config',
  'ensure_weight_tying',
  'eva_config',
  'exclude_modules',
  'fan_in_fan_out',
  'feedforward_modules',
  'inference_mode',
  'init_ia3_weights',
  'layers_pattern',
  'layers_to_transform',
  'lora_alpha',
  'lora_dropout',
  'megatron_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'r',
  'rank_pattern',
  'revision',
  'target_modules',
  'task_type',
  'use_rslora',
}
# Options that may have these values, or be unset. Some ways to begin, such as
# PiSSA, change the base, and are therefore missing.
_VALUES = {
  'bias': ('none',),
  'init_lora_weights': (True, 'eva', 'gaussian', 'orthogonal'),
}

# The types of options that are read.
_KINDS: Mapping[str, tuple[type, ...]] = {
  'target_modules': (list, str),
  'exclude_modules': (list, str),
  'feedforward_modules': (list, str),
  'r': (int,),
  'lora_alpha': (int, float),
  'rank_pattern': (dict,),
  'alpha_pattern': (dict,),
}


def is_peft(folder: epath.PathLike) -> bool:
  """Whether a folder that PEFT saved lies there, even one that is refused."""
  contents = buckets.read(posixpath.join(folder, FILE))
  if contents is None:
    return False
  try:
    return TYPE in json.loads(contents)
  except (ValueError, TypeError):
    return False


def load(folder: epath.PathLike) -> dict[str, Any]:
  """Reads the file.

  Raises:
    UserError: if it is missing, or has an option that is not understood.
  """
  path = epath.Path(folder) / FILE
  try:
    values = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read: {error}. Give a folder that PEFT saved.'
    ) from error
  if not isinstance(values, dict) or TYPE not in values:
    raise UserError(
      f"{path} has no {TYPE}: it is not PEFT's. Adapters that `export` wrote "
      'are read as they are, and by `import`.'
    )
  if values[TYPE] not in (IA3, LORA):
    raise UserError(
      f'{path} has {TYPE} {values[TYPE]!r}; only {IA3} and {LORA} can be read.'
    )
  for name, kinds in _KINDS.items():
    if values.get(name) is not None and not isinstance(values[name], kinds):
      raise UserError(
        f'{path} has {name} {values[name]!r}, which should be of the type '
        f'{" or ".join(kind.__name__ for kind in kinds)}.'
      )
  for name in ('rank_pattern', 'alpha_pattern'):
    for pattern, value in (values.get(name) or {}).items():
      if not isinstance(value, int | float):
        raise UserError(
          f'{path} has {value!r} for {pattern!r} in {name}: it is not a number.'
        )
  for name, value in values.items():
    if name in _ANY_VALUE or not value or value in _VALUES.get(name, ()):
      continue
    raise UserError(
      f'{path} has {name} {value!r}, which changes what the adapters compute '
      'in a way that is not read here. Give adapters trained without it.'
    )
  if not values.get('target_modules'):
    raise UserError(f'{path} names no target_modules, which PEFT writes.')
  return values


def is_targeted(values: Mapping[str, Any], module: str) -> bool:
  """Whether PEFT places an adapter at a linear module.

  The option `layers_to_transform` is not looked at.

  Args:
    values: from `load`.
    module: their name of it, such as 'encoder.block.0.layer.0.SelfAttention.q'.
  """
  if _matches(values.get('exclude_modules') or (), module):
    return False
  targets = values['target_modules']
  return targets == 'all-linear' or _matches(targets, module)


def rank(values: Mapping[str, Any], module: str) -> int:
  """The rank of the LoRA at a module."""
  patterns = values.get('rank_pattern') or {}
  return int(_of(patterns, module, values.get('r', _DEFAULT_RANK)))


def alpha(values: Mapping[str, Any], module: str) -> float:
  """Our alpha of the LoRA at a module.

  We scale with alpha / rank, as PEFT does. Rank-stabilised LoRA scales with
  PEFT's alpha / sqrt(rank), so that our alpha is sqrt(rank) times that.
  """
  patterns = values.get('alpha_pattern') or {}
  given = float(_of(patterns, module, values.get('lora_alpha', _DEFAULT_ALPHA)))
  if values.get('use_rslora'):
    return given * math.sqrt(rank(values, module))
  return given


def describe(
  kind: str,
  modules: Sequence[str],
  options: Mapping[str, Any],
  base: str | None,
  revision: str | None,
) -> dict[str, Any]:
  """What the file says of adapters.

  Args:
    kind: IA3 or LORA.
    modules: the modules that they stand at, such as 'q'.
    options: the options that only this kind has.
    base: the name or path of the model that they stand on.
    revision: the revision of that model on the hub.
  """
  return {
    TYPE: kind,
    'task_type': 'SEQ_2_SEQ_LM',
    'base_model_name_or_path': base,
    'revision': revision,
    'inference_mode': True,
    'target_modules': list(modules),
    'modules_to_save': None,
    'fan_in_fan_out': False,
    **options,
  }


def _matches(names: str | Sequence[str], module: str) -> bool:
  """Whether a module is named.

  A text is a regular expression for the whole path; a list holds ends of paths.
  """
  if isinstance(names, str):
    return _search(names, module)
  return any(module == x or module.endswith(f'.{x}') for x in names)


def _of(patterns: Mapping[str, Any], module: str, otherwise: Any) -> Any:
  """The value of the first pattern that a module matches."""
  for pattern, value in patterns.items():
    if _search(rf'(?:.*\.)?(?:{pattern})', module):
      return value
  return otherwise


def _search(pattern: str, module: str) -> bool:
  try:
    return re.fullmatch(pattern, module) is not None
  except re.error as error:
    raise UserError(
      f'{FILE} has a pattern of modules that is not a regular expression: '
      f'{pattern!r}: {error}.'
    ) from error
