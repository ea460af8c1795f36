"""Bases on disk, in any form: the frozen parameters that adapters stand on."""

import collections
import contextlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from moe_lite.checkpoints import first_use, formats, lazy_arrays, uploading
from moe_lite.checkpoints.description import BaseInfo
from moe_lite.checkpoints.format import BaseFormat
from moe_lite.checkpoints.hugging_face.config import infer
from moe_lite.checkpoints.hugging_face.weights import WEIGHT_DTYPES
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.core import parameters
from moe_lite.core.errors import Damaged, UserError, some
from moe_lite.core.types import Tree
from moe_lite.t5.config import T5Config
from moe_lite.t5.description import from_json


def check_base(
  path: str, wanted: Tree, network: T5Config | None = None
) -> None:
  """Checks that a base is there and fits, without reading its numbers.

  Args and errors are those of `load_base`. Nothing is said of damaged numbers.
  """
  _, _, found = _open(path, network)
  _check_wanted(path, found, wanted)


def load_base(
  path: str, wanted: Tree, network: T5Config | None = None
) -> tuple[Tree, BaseInfo]:
  """Loads the parameters of a base onto devices.

  Arrays are read one after another. Each is converted to the type that it is
  held in, and sent to its place, before the next one is needed. The host so
  never holds the whole base in the type of its source.

  Args:
    path: a safetensors file; a folder with one; a T5X checkpoint; a folder of
      Hugging Face's; a model of its hub, 'hf://...'; the folder of a run that
      trained every parameter; or the name of a base that ships.
    wanted: the shapes of the base, without adapters, in loop or scan form, in
      the types to hold them in; with shardings, where arrays should lie.
    network: the network that the base is for. Where a source says which
      network it is of, the two are compared, beyond the shapes of leaves.

  Returns:
    The parameters, like `wanted`, and which base it is.

  Raises:
    UserError: if there is no base, or if its leaves are not those wanted.
  """
  where, form, found = _open(path, network)
  _check_wanted(path, found, wanted)
  placement = uploading.Placement(wanted)
  digests = {}
  leaves = lazy_arrays.read_layers(found, _order(found))
  with uploading.freeing_at_once(), contextlib.closing(leaves):
    for name, leaf in leaves:
      digests[name] = lazy_arrays.digest(found.get(name), name, leaf)
      placement.fill(name, leaf)
  fingerprint = parameters.combine(digests)
  check_fingerprint(form, where, fingerprint)
  return placement.tree(), BaseInfo(str(path), fingerprint)


def check_fingerprint(
  form: BaseFormat, where: str, fingerprint: str, accept: bool = False
) -> str:
  """Compares a fingerprint with what was saved, or with that of the first use.

  Args:
    form: the form of the base.
    where: where it lies, as `formats.local` gives it.
    fingerprint: that of what was read.
    accept: see `first_use.check`.

  Returns:
    A sentence on what was found.

  Raises:
    Damaged: if it is another.
  """
  if form.has_steps:  # Its checkpoint was compared leaf by leaf.
    return 'every leaf is what was saved'
  saved = form.fingerprint(where)
  if saved is None:
    return first_use.check(where, fingerprint, form.says(where), accept)
  if saved != fingerprint:
    raise Damaged(
      f'{where} is damaged: its fingerprint is {fingerprint}, and was {saved} '
      'when it was written. Write or fetch it again.'
    )
  if form.digests(where) is None:
    return 'the base is what was saved'
  return 'every leaf is what was saved'


def check_read(
  form: BaseFormat,
  where: str,
  found: Mapping[str, Stored],
  leaves: Mapping[str, np.ndarray],
) -> None:
  """Does the same for all leaves of a base, which were read from `found`."""
  digests = {
    name: lazy_arrays.digest(found.get(name), name, leaf)
    for name, leaf in leaves.items()
  }
  check_fingerprint(form, where, parameters.combine(digests))


def fingerprint(path: str) -> str:
  """The fingerprint of a base, compared as `check_fingerprint` says.

  Args and errors are those of `load_base`.
  """
  where, form = _find(path)
  found = lazy_arrays.fingerprint(form.arrays(where))
  check_fingerprint(form, where, found)
  return found


def read(path: str, network: T5Config | None = None) -> dict[str, np.ndarray]:
  """Reads path to leaf, layers apart, as the source holds them: all in memory.

  Args and errors are those of `load_base`.
  """
  where, form, found = _open(path, network)
  leaves = lazy_arrays.read_all(found)
  check_read(form, where, found, leaves)
  return leaves


def arrays(path: str, network: T5Config | None = None) -> dict[str, Stored]:
  """Finds path to array, stacked where the source stacks layers.

  None of them has been read yet. Args and errors are those of `load_base`.
  """
  return _open(path, network)[2]


def network(path: str) -> T5Config:
  """The network that a base is of, by what it says, or else by its leaves.

  Args:
    path: see `load_base`.

  Raises:
    UserError: if there is no base.
  """
  where, form = _find(path)
  said = form.network(where)
  if said is None:
    return infer(lazy_arrays.unrolled(form.arrays(where)))
  return from_json({**said, 'adapters': {}})


def text(path: str) -> dict[str, Any]:
  """How texts become ids for a base, as far as it says.

  See `inference.vocabulary.find_vocabulary`. Where there is no base, nothing is
  said.
  """
  where = formats.local(path)
  found = formats.find(where)
  return found.text(where) if isinstance(found, BaseFormat) else {}


def _open(
  path: str, network: T5Config | None
) -> tuple[str, BaseFormat, dict[str, Stored]]:
  """Finds a base, and compares it with a network: where, form and arrays."""
  where, form = _find(path)
  if network is not None:
    form.check(where, network, path)
  return where, form, form.arrays(where)


def _find(path: str) -> tuple[str, BaseFormat]:
  """Where a base lies, and in which form."""
  where = formats.local(path)
  return where, formats.find_base(where, path)


# The stacks of T5X's scalable_t5, which lie in one more folder of their name.
_SCALABLE = re.compile(r'(encoder/encoder|decoder/decoder)/.*').fullmatch


def _order(found: Mapping[str, Stored]) -> list[str]:
  """The names of arrays in the order to read them in.

  The arrays of one stack come together, and the largest stack comes first: what
  is being read and converted then adds to little that is held already.
  """
  sizes: dict[str, int] = collections.defaultdict(int)
  for name, array in found.items():
    sizes[_stack_of(name)] += array.nbytes
  key = lambda name: (-sizes[_stack_of(name)], _stack_of(name), name)
  return sorted(found, key=key)


def _stack_of(name: str) -> str:
  return re.sub(r'layers_\d+', 'layers', name)


def _check_wanted(path: str, found: Mapping[str, Stored], wanted: Tree) -> None:
  unstacked = jax.eval_shape(parameters.unstack_layers, wanted)
  _check_leaves(
    path, lazy_arrays.unrolled(found), parameters.flatten(unstacked)
  )


def _check_leaves(
  path: str, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  """Raises UserError unless leaves are those wanted, of a type that is read."""
  if scalable := [name for name in found if _SCALABLE(name)]:
    raise UserError(
      f'The base {path} is of another network than T5 1.1 in T5X: it has '
      f'{some(scalable)}, as the scalable_t5 of T5X has, which scans over its '
      'layers and names them otherwise. Load it in T5X with that network, and '
      'save it with that of examples/t5; or give a checkpoint of examples/t5.'
    )
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
