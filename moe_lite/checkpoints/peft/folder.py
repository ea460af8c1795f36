"""Reads and writes PEFT's folders of IA3 and LoRA, without torch or PEFT.

Such a folder has an `adapter_config.json` (see `config`) and an
`adapter_model.safetensors` (see `leaves`). Its adapters stand at the modules of
Hugging Face's T5, ours at sites: our site `query` is the module `q` of every
attention. An IA3 vector at `intermediate` scales what `wo` reads, which PEFT
calls a feed-forward module.

Source: what `PeftModel.save_pretrained` of PEFT 0.21 writes.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from moe_lite.adapters.adapter import Adapter, AdapterFactory
from moe_lite.adapters.ia3 import IA3
from moe_lite.adapters.lora import LoRA
from moe_lite.adapters.molora import MoLoRA
from moe_lite.adapters.mov import MoV
from moe_lite.checkpoints import safetensors_files
from moe_lite.checkpoints.hugging_face import names
from moe_lite.checkpoints.hugging_face.weights import WEIGHT_DTYPES
from moe_lite.checkpoints.peft import config
from moe_lite.checkpoints.peft.leaves import (
  LEAVES,
  path_of,
  sites_at,
  take,
  their_names,
  to_theirs,
)
from moe_lite.checkpoints.peft.summary import WEIGHTS, read_weights
from moe_lite.core import files, json_text
from moe_lite.core.errors import UserError, some
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import at_sites

_KINDS = {IA3: config.IA3, LoRA: config.LORA}
_ROUTED = (MoV, MoLoRA)


def write(
  folder: str,
  trained: Mapping[str, np.ndarray],
  network: T5Config,
  base: str | None = None,
  revision: str | None = None,
  overwrite: bool = False,
) -> None:
  """Writes a folder that `peft.PeftModel.from_pretrained` loads.

  Args:
    folder: must not exist.
    trained: path to leaf, unrolled, in the types to save them in.
    network: the network, with the adapters whose leaves these are.
    base: the name or path of Hugging Face's model that they stand on.
    revision: the revision of that model on the hub.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists, or PEFT has no such adapters.
  """
  standing = network.standing()
  kind = _kind(standing)
  left = dict(trained)
  state: dict[str, np.ndarray] = {}
  modules: dict[str, str] = {}
  for x in names.projections(network):
    for site in sites_at(x):
      if site not in standing:
        continue
      modules[site] = x.theirs.rpartition('.')[2]
      theirs = their_names(kind, x.theirs)
      for name, leaf in zip(theirs, LEAVES[kind], strict=True):
        path = path_of(x.sublayer, site, leaf)
        if path not in left:
          raise UserError(f'Not written, as {path} is missing.')
        array = to_theirs(kind, site, left.pop(path))
        state[name] = np.ascontiguousarray(array)
  if left:
    raise UserError(
      f'Not written, as {len(left)} trained leaves, such as {min(left)}, are '
      'not adapters of this network. PEFT takes only adapters; `export_hf` '
      'writes a run that trained every parameter.'
    )
  dtypes = {leaf.dtype.name for leaf in state.values()}
  if not dtypes <= set(WEIGHT_DTYPES):
    raise UserError(
      f'Not written, as leaves are of {", ".join(sorted(dtypes))}; '
      f'{", ".join(WEIGHT_DTYPES)} can be.'
    )
  options = (
    _ia3_options(modules)
    if kind == config.IA3
    else _lora_options(standing, modules)
  )
  targets = sorted(set(modules.values()))
  described = config.describe(kind, targets, options, base, revision)
  with files.new(folder, overwrite) as partial:
    (partial / config.FILE).write_text(
      json_text.dumps(described, indent=2) + '\n'
    )
    safetensors_files.write(partial / WEIGHTS, state, {'format': 'pt'})


def read(
  folder: str, network: T5Config
) -> tuple[dict[str, np.ndarray], dict[str, AdapterFactory]]:
  """Reads adapters. The leaves that are there tell what stands where.

  Our adapters stand in every layer. Where the configuration targets only some
  layers, or some of the attentions, the others get the identity, which changes
  nothing: vectors of ones for IA3, and zeros for LoRA, which do not train
  either.

  Args:
    folder: a folder that PEFT saved.
    network: the network that they stand on; its own adapters do not matter.

  Returns:
    Path to leaf, unrolled, in the types of the file; and site to the adapter
    that stands there.

  Raises:
    UserError: if a file is missing or damaged, if the leaves are not those that
      the configuration targets, or if ours cannot express them.
  """
  values = config.load(folder)
  path = epath.Path(folder) / WEIGHTS
  found = read_weights(path)
  kind = values[config.TYPE]
  sublayers: dict[str, list[str]] = defaultdict(list)
  standing: dict[str, dict[str, tuple[int, float] | None]] = defaultdict(dict)
  result: dict[str, np.ndarray] = {}
  for x in names.projections(network):
    for site in sites_at(x):
      sublayers[site].append(x.sublayer)
    taken = take(found, x, values, network, path)
    if taken is None:
      continue
    site, standing[site][x.sublayer], leaves = taken
    for leaf, array in zip(LEAVES[kind], leaves, strict=True):
      result[path_of(x.sublayer, site, leaf)] = array
  if found:
    raise UserError(
      f'{path} has, beyond what {config.FILE} places in a T5 of this size, '
      f'{some(sorted(found))}. Give the base that they were trained on.'
    )
  if not standing:
    raise UserError(f'{path} has no adapters.')
  built: dict[str, AdapterFactory] = {}
  for site, there in standing.items():
    first, pair = next(iter(there.items()))
    if others := set(there.values()) - {pair}:
      raise UserError(
        f'{folder} has LoRA of rank and alpha {pair} and {others.pop()} at '
        f'{site}; moe_lite takes the same rank and alpha in all layers.'
      )
    built[site] = IA3
    if pair is not None:
      built[site] = functools.partial(LoRA, rank=pair[0], alpha=pair[1])
    fill = np.ones_like if kind == config.IA3 else np.zeros_like
    for sublayer in set(sublayers[site]) - set(there):
      for leaf in LEAVES[kind]:
        like = result[path_of(first, site, leaf)]
        result[path_of(sublayer, site, leaf)] = fill(like)
  return result, built


def _kind(standing: Mapping[str, Adapter]) -> str:
  """PEFT's type of some adapters; UserError where it has no such type."""
  advice = '`export` writes what moe_lite itself reads.'
  types = {type(adapter) for adapter in standing.values()}
  if any(issubclass(x, _ROUTED) for x in types):
    raise UserError(
      'PEFT has no routed mixtures. Fix the routers first, and export that: '
      'python -m moe_lite.convert collapse RUN --to=DIR.'
    )
  if not types or not types <= set(_KINDS) or len(types) > 1:
    raise UserError(
      'A folder of PEFT holds either IA3 or LoRA; the adapters here are '
      f'{at_sites(standing)}. {advice}'
    )
  kind = _KINDS[types.pop()]
  if kind == config.LORA and 'intermediate' in standing:
    raise UserError(
      'PEFT has no LoRA at intermediate, where there is no matmul: train '
      f'without it. {advice}'
    )
  if kind == config.IA3 and {'intermediate', 'wo'} <= standing.keys():
    raise UserError(
      'PEFT has one IA3 vector for each module. Here wo has two: the one at '
      'intermediate scales what it reads, the one at wo what it writes. Train '
      f'with one of them. {advice}'
    )
  return kind


def _ia3_options(modules: Mapping[str, str]) -> dict[str, Any]:
  return {
    'feedforward_modules': [
      module for site, module in modules.items() if site == 'intermediate'
    ],
    'init_ia3_weights': True,
  }


def _lora_options(
  standing: Mapping[str, Any], modules: Mapping[str, str]
) -> dict[str, Any]:
  """The options of a LoRA.

  PEFT has one rank and one alpha, here the commonest; `rank_pattern` and
  `alpha_pattern` name the modules that differ.
  """
  options: dict[str, Any] = {
    'lora_dropout': 0.0,
    'bias': 'none',
    'use_rslora': False,
    'use_dora': False,
    'init_lora_weights': True,
  }
  for field, name, patterns in (
    ('rank', 'r', 'rank_pattern'),
    ('alpha', 'lora_alpha', 'alpha_pattern'),
  ):
    found = {
      module: getattr(standing[x], field) for x, module in modules.items()
    }
    common = Counter(found.values()).most_common(1)[0][0]
    options[name] = common
    options[patterns] = {x: n for x, n in found.items() if n != common}
  return options
