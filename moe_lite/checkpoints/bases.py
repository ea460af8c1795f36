"""Bases on disk: the frozen parameters that adapters stand on.

A base is a folder with `model.safetensors` (unrolled paths, bfloat16 or
float32) and `metadata.json`. What else can serve as one: a safetensors file, a
T5X checkpoint, a folder of Hugging Face's, a run that trained every parameter,
and the bases that ship with the package, by name.
"""

import collections
import contextlib
import dataclasses
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from moe_lite.checkpoints import (
  buckets,
  formats,
  lazy_arrays,
  runs,
  safetensors_files,
  uploading,
)
from moe_lite.checkpoints.formats import Kind
from moe_lite.checkpoints.hugging_face import (
  hub,
  model,
)
from moe_lite.checkpoints.hugging_face.weights import VOCABULARY, WEIGHT_DTYPES
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.checkpoints.t5x import native
from moe_lite.core import files, parameters
from moe_lite.core.errors import UserError, nearest, some
from moe_lite.core.types import Tree
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import SIZES, from_json, to_json

WEIGHTS = formats.WEIGHTS
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
    lazy_arrays.unrolled(found),
    parameters.flatten(jax.eval_shape(parameters.unstack_layers, wanted)),
  )
  placement = uploading.Placement(wanted)
  digests = {}
  leaves = lazy_arrays.read_layers(found, _order(found))
  with uploading.freeing_at_once(), contextlib.closing(leaves):
    for name, leaf in leaves:
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


def read(path: str, network: T5Config | None = None) -> dict[str, np.ndarray]:
  """Path to leaf, layers apart, as the source holds them: all in memory.

  Args: as of `load_base`.
  """
  return lazy_arrays.read_all(arrays(path, network))


def arrays(path: str, network: T5Config | None = None) -> dict[str, Stored]:
  """Path to array, stacked where the source stacks layers, yet to be read.

  Args: as of `load_base`.
  """
  given, path = path, formats.local(path)
  kind = formats.kind(path)
  if kind is Kind.T5X:
    return native.arrays(path)
  if kind is Kind.HUGGING_FACE:
    if network is not None:
      model.check(path, network)
    return model.arrays(path)
  if kind is Kind.BASE:
    if network is not None:
      _check_network(given, metadata(path).get('network', {}), network)
    return _arrays(posixpath.join(path, WEIGHTS))
  if kind is Kind.RUN:
    leaves, description = read_run(path)
    if network is not None:
      _check_network(given, description.get('network', {}), network)
    return {name: lazy_arrays.held(x) for name, x in leaves.items()}
  if kind is Kind.FILE:
    return _arrays(path)
  names = formats.shipped()
  raise UserError(
    f'{given!r}: there is no base. Give a safetensors file, a folder with '
    f'{WEIGHTS}, a T5X checkpoint, a folder of Hugging '
    f"Face's ({model.CONFIG} and weights), a model of its hub "
    f'({hub.PREFIX}ORGANISATION/NAME), the MODEL_DIR of a run '
    'that trained every parameter, or the name of a base that ships with the '
    f'package ({", ".join(names) or "there are none"}).{nearest(given, names)}'
    f'{_checkpoints_in(epath.Path(path))}'
  )


def metadata(path: str) -> dict[str, Any]:
  """What a base of ours says of itself; {} where it says nothing.

  Raises:
    UserError: if the file is damaged.
  """
  file = posixpath.join(formats.local(path), METADATA)
  contents = buckets.read(file)
  if contents is None:
    return {}
  try:
    says = json.loads(contents)
    parts = [says, says.get('network', {}), says.get('text', {})]
    name = parts[-1].get('vocabulary', '')
  except (AttributeError, ValueError) as error:
    raise UserError(f'{file} is damaged: {error}.') from error
  if not all(isinstance(x, dict) for x in parts) or not isinstance(name, str):
    raise UserError(f'{file} is damaged: it says {says!r}.')
  return says


def network(path: str) -> T5Config:
  """The network that a base is of, by what it says, else by its leaves.

  Args:
    path: as of `load_base`.

  Raises:
    UserError: if there is no base.
  """
  path = formats.local(path)
  kind = formats.kind(path)
  if kind is Kind.HUGGING_FACE:
    return model.network(path)
  says = runs.describe(path) if kind is Kind.RUN else metadata(path)
  if 'network' in says:
    return from_json({**says['network'], 'adapters': {}})
  return model.infer(lazy_arrays.unrolled(arrays(path)))


def text(path: str) -> dict[str, Any]:
  """How texts become ids for a base, as far as it says; see `vocabulary.load`.

  T5 as Hugging Face has it was trained on inputs that end with EOS.
  """
  path = formats.local(path)
  if formats.kind(path) is Kind.HUGGING_FACE:
    return {'inputs_eos': True}
  return metadata(path).get('text', {})


def read_run(
  path: str, step: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """A base's leaves from a run that trained all of them; its description.

  Raises:
    UserError: if there is no such checkpoint, or it holds adapters only.
  """
  tree, description = runs.restore_trainable(path, step)
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
  vocabulary: bytes | None = None,
  overwrite: bool = False,
) -> None:
  """Writes a base, unrolled, under a temporary name first.

  Args:
    folder: must not exist.
    params: bfloat16 or float32, in loop or scan form.
    metadata: what to say of it, for JSON; its fingerprint is added.
    vocabulary: a SentencePiece model.
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
  with files.new(folder, overwrite) as partial:
    safetensors_files.write(partial / WEIGHTS, leaves)
    if vocabulary is not None:
      (partial / VOCABULARY).write_bytes(vocabulary)
    (partial / METADATA).write_text(json.dumps(metadata, indent=2) + '\n')


def _arrays(path: str) -> dict[str, Stored]:
  found = safetensors_files.arrays(path)
  if model.is_theirs(found):
    raise UserError(
      f"{path} has Hugging Face's names of leaves: give its folder, with "
      f'{model.CONFIG} in it.'
    )
  return found


def _checkpoints_in(folder: epath.Path) -> str:
  """' It holds checkpoint_5: give ...' for the folder of a run of T5X."""
  if not folder.is_dir():
    return ''
  steps = [p for p in folder.iterdir() if native.is_checkpoint(str(p))]
  if not steps:
    return ''
  last = max(steps, key=lambda p: (len(p.name), p.name))
  return f' T5X checkpoints are in it: give one, such as {last}.'


def _check_network(
  path: str, says: Mapping[str, Any], wanted: T5Config
) -> None:
  """Raises UserError for what shapes do not tell, such as activations."""
  now = to_json(wanted)
  problems = [
    f'{name} {says[name]} in the base, {now[name]} in the models/ gin file'
    for name in SIZES
    if name in says and says[name] != now[name]
  ]
  if problems:
    raise UserError(
      f'The base {path} does not fit the network: {"; ".join(problems)}. Give '
      'the gin file of this base, or a base of that size.'
    )


def _check_leaves(
  path: str, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  missing = sorted(set(wanted) - set(found))
  extra = sorted(set(found) - set(wanted))
  problems = []
  if missing:
    problems.append(f'lacks {some(missing)}')
  if extra:
    problems.append(f'has, beyond what the network takes, {some(extra)}')
  shapes = [
    f'{name} {tuple(found[name].shape)} instead of {tuple(leaf.shape)}'
    for name, leaf in sorted(wanted.items())
    if name in found and tuple(found[name].shape) != tuple(leaf.shape)
  ]
  if shapes:
    problems.append(f'has other shapes: {some(shapes)}')
  types = [
    f'{name} {leaf.dtype.name}'
    for name, leaf in sorted(found.items())
    if leaf.dtype.name not in WEIGHT_DTYPES
  ]
  if types:
    problems.append(
      f'has types other than {", ".join(WEIGHT_DTYPES)}: {some(types)}'
    )
  if problems:
    raise UserError(
      f'The base {path} does not fit the network: it {"; it ".join(problems)}. '
      'Give a base of the same size as the models/ gin file, or the gin file '
      'of this base.'
    )
