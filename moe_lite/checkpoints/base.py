"""Bases on disk: the frozen parameters that adapters stand on.

A base is a folder with `model.safetensors` (unrolled paths, bfloat16 or
float32) and `metadata.json`. What else can serve as one: a safetensors file, a
T5X checkpoint, a folder of Hugging Face's, a run that trained every parameter,
and the bases that ship with the package, by name.
"""

import collections
import dataclasses
import importlib.resources
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from etils import epath

from moe_lite import networks, parameters
from moe_lite.checkpoints import (
  buckets,
  folders,
  hugging_face,
  hugging_face_hub,
  own,
  placing,
  stored,
  t5x,
  tensors,
)
from moe_lite.checkpoints.stored import Stored
from moe_lite.errors import UserError, nearest
from moe_lite.t5 import T5Config
from moe_lite.types import Tree

WEIGHTS = 'model.safetensors'
METADATA = 'metadata.json'
# That a base is written in.
DTYPES = ('bfloat16', 'float32')


@dataclasses.dataclass(frozen=True)
class BaseInfo:
  """Which base it is.

  Attributes:
    source: where it was loaded from, as the user named it.
    fingerprint: see `parameters.fingerprint`.
  """

  source: str
  fingerprint: str


# What a run without a frozen base says of it.
NO_BASE = BaseInfo('none', 'none')


def check_same(
  run: str, trained_on: Mapping[str, str], now: Mapping[str, str]
) -> None:
  """Raises UserError unless a run stands on the base that is given now.

  Args:
    run: its folder, for the message.
    trained_on: a `BaseInfo` as a mapping.
    now: likewise.
  """
  if trained_on['fingerprint'] != now['fingerprint']:
    raise UserError(
      f'The run {run} stands on another base than INITIAL_CHECKPOINT_PATH '
      f'names:\n  the run: {trained_on["source"]} (fingerprint '
      f'{trained_on["fingerprint"]})\n  now: {now["source"]} (fingerprint '
      f'{now["fingerprint"]})\nGive the base that the run was trained on, or '
      'another run.'
    )


def shipped() -> list[str]:
  """Names of the bases that ship with the package."""
  folder = _shipped_folder()
  if not folder.exists():
    return []
  return sorted(p.name for p in folder.iterdir() if (p / WEIGHTS).exists())


def load_base(
  path: str, wanted: Tree, network: T5Config | None = None
) -> tuple[Tree, BaseInfo]:
  """Loads parameters from a base.

  Arrays are read one after another, each into its place on the devices, so
  that the host never holds the whole in the type of the source.

  Args:
    path: a safetensors file; a folder with one; a T5X checkpoint; a folder of
      Hugging Face's; a model of its hub, 'hf://...'; the folder of a run that
      trained every parameter; or the name of a base that ships.
    wanted: shapes of the base, without adapters, in loop or scan form, in the
      types to hold them in; with shardings, where arrays should lie.
    network: that the base is for. Where a source says what network it is of,
      it is compared beyond the shapes of leaves.

  Returns:
    The parameters, like `wanted`, and which base it is.

  Raises:
    UserError: if there is no base, or if its leaves are not those wanted.
  """
  found = arrays(path, network)
  _check_leaves(
    path,
    stored.unrolled(found),
    parameters.flatten(jax.eval_shape(parameters.unstack_layers, wanted)),
  )
  placement = placing.Placement(wanted)
  digests = {}
  with placing.freeing_at_once():
    for name, leaf in stored.read_layers(found, _order(found)):
      digests[name] = parameters.digest(name, leaf)
      placement.fill(name, leaf)
  info = BaseInfo(str(path), parameters.combine(digests))
  return placement.tree(), info


def _order(found: Mapping[str, Stored]) -> list[str]:
  """Arrays of one stack together, and the largest first.

  What is being read and converted then adds to little that is held already.
  """
  sizes: dict[str, int] = collections.defaultdict(int)
  for name, array in found.items():
    sizes[_stack_of(name)] += array.nbytes
  key = lambda name: (-sizes[_stack_of(name)], _stack_of(name), name)
  return sorted(found, key=key)


def _stack_of(name: str) -> str:
  return re.sub(r'layers_\d+', 'layers', name)


def local(path: str) -> str:
  """Where a base lies: its path, or where a hub's model was downloaded to."""
  if hugging_face_hub.is_address(path):
    return hugging_face_hub.download(path)
  return path


def read(path: str, network: T5Config | None = None) -> dict[str, np.ndarray]:
  """Path to leaf, layers apart, as the source holds them: all in memory.

  Args: as of `load_base`.
  """
  return stored.read_all(arrays(path, network))


def arrays(path: str, network: T5Config | None = None) -> dict[str, Stored]:
  """Path to array, stacked where the source stacks layers, yet to be read.

  Args: as of `load_base`.
  """
  path = local(path)
  # Before anything that would ask TensorFlow for a bucket.
  if t5x.is_checkpoint(path):
    return t5x.arrays(path)
  folder = epath.Path(path)
  if hugging_face.is_checkpoint(folder):
    if network is not None:
      hugging_face.check(folder, network)
    return hugging_face.arrays(folder)
  if (folder / WEIGHTS).exists():
    return _arrays(folder / WEIGHTS)
  if own.is_run_folder(path):
    return {name: stored.held(x) for name, x in read_run(path)[0].items()}
  if folder.is_file():
    return _arrays(folder)
  if path in shipped():
    return _arrays(_shipped_folder() / path / WEIGHTS)
  names = shipped()
  raise UserError(
    f'INITIAL_CHECKPOINT_PATH = {path!r}: there is no base. Give a safetensors '
    f'file, a folder with {WEIGHTS}, a T5X checkpoint, a folder of Hugging '
    f"Face's ({hugging_face.CONFIG} and weights), a model of its hub "
    f'({hugging_face_hub.PREFIX}ORGANISATION/NAME), the MODEL_DIR of a run '
    'that trained every parameter, or the name of a base that ships with the '
    f'package ({", ".join(names) or "there are none"}).{nearest(path, names)}'
    f'{_checkpoints_in(folder)}'
  )


def metadata(path: str) -> dict[str, Any]:
  """What a base of ours says of itself; {} where it says nothing."""
  folder = path
  if path in shipped() and not epath.Path(path).exists():
    folder = str(_shipped_folder() / path)
  file = posixpath.join(folder, METADATA)
  contents = buckets.read(file)
  if contents is None:
    return {}
  try:
    says = json.loads(contents)
  except ValueError as error:
    raise UserError(f'{file} is damaged: {error}.') from error
  parts = [says]
  if isinstance(says, dict):
    parts = [says[name] for name in ('network', 'text') if name in says]
  if not all(isinstance(part, dict) for part in parts):
    raise UserError(
      f'{file} is damaged: it, its network and its text must be objects.'
    )
  return says


def network(path: str) -> T5Config:
  """The network that a base is of, by what it says, else by its leaves.

  Args:
    path: as of `load_base`.

  Raises:
    UserError: if there is no base.
  """
  path = local(path)
  if not t5x.is_checkpoint(path) and hugging_face.is_checkpoint(path):
    return hugging_face.network(path)
  is_run = not t5x.is_checkpoint(path) and own.is_run_folder(path)
  says = own.describe(path) if is_run else metadata(path)
  if 'network' in says:
    return networks.from_json({**says['network'], 'adapters': {}})
  return hugging_face.infer(stored.unrolled(arrays(path)))


def read_run(
  path: str, step: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """A base's leaves from a run that trained all of them; its description.

  Raises:
    UserError: if there is no such checkpoint, or it holds adapters only.
  """
  tree, description = own.restore_trainable(path, step)
  leaves = parameters.flatten(tree)
  if 'token_embedder/embedding' not in leaves:
    raise UserError(
      f'{path} is a run that trained adapters only, so it holds no base. Give '
      "the base it started from, or a run with TRAINABLE = '.*'."
    )
  kept = {
    name: x for name, x in leaves.items() if not parameters.is_adapter(name)
  }
  return kept, description


def save_base(
  folder: str,
  params: Tree,
  metadata: Mapping[str, Any],
  overwrite: bool = False,
) -> None:
  """Writes a base, unrolled, under a temporary name first.

  Args:
    folder: must not exist.
    params: bfloat16 or float32, in loop or scan form.
    metadata: what to say of it, for JSON; its fingerprint is added.
    overwrite: replace what stands there.

  Raises:
    UserError: if the folder exists.
  """
  host = jax.tree.map(np.asarray, jax.device_get(params))
  tree = parameters.unstack_layers(host)
  leaves = {
    path: np.ascontiguousarray(leaf)
    for path, leaf in sorted(parameters.flatten(tree).items())
  }
  metadata = {**metadata, 'fingerprint': parameters.fingerprint(tree)}
  with folders.new(folder, overwrite) as partial:
    (partial / WEIGHTS).write_bytes(safetensors.numpy.save(leaves))
    (partial / METADATA).write_text(json.dumps(metadata, indent=2) + '\n')


def _arrays(path: epath.Path) -> dict[str, Stored]:
  found = tensors.arrays(path)
  if hugging_face.is_theirs(found):
    raise UserError(
      f"{path} has Hugging Face's names of leaves: give its folder, with "
      f'{hugging_face.CONFIG} in it.'
    )
  return found


def _checkpoints_in(folder: epath.Path) -> str:
  """' It holds checkpoint_5: give ...' for the folder of a run of T5X."""
  if not folder.is_dir():
    return ''
  steps = [p for p in folder.iterdir() if t5x.is_checkpoint(str(p))]
  if not steps:
    return ''
  last = max(steps, key=lambda p: (len(p.name), p.name))
  return f' T5X checkpoints are in it: give one, such as {last}.'


def _check_leaves(
  path: str, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  missing = sorted(set(wanted) - set(found))
  extra = sorted(set(found) - set(wanted))
  problems = []
  if missing:
    problems.append(f'lacks {_some(missing)}')
  if extra:
    problems.append(f'has, beyond what the network takes, {_some(extra)}')
  shapes = [
    f'{name} {tuple(found[name].shape)} instead of {tuple(leaf.shape)}'
    for name, leaf in sorted(wanted.items())
    if name in found and tuple(found[name].shape) != tuple(leaf.shape)
  ]
  if shapes:
    problems.append(f'has other shapes: {_some(shapes)}')
  if problems:
    raise UserError(
      f'The base {path} does not fit the network: it {"; it ".join(problems)}. '
      'Give a base of the same size as the models/ gin file, or the gin file '
      'of this base.'
    )


def _some(items: list[str], most: int = 5) -> str:
  more = f' and {len(items) - most} more' if len(items) > most else ''
  return ', '.join(items[:most]) + more


def _shipped_folder() -> epath.Path:
  return epath.Path(str(importlib.resources.files('moe_lite') / 'bases'))
