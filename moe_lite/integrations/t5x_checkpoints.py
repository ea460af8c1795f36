"""Checkpoints of T5X that hold only what trains.

T5X calls `save_trainable` when it writes a checkpoint. The function drops the
base. T5X calls `restore_onto_base` when it reads a checkpoint. The function
adds the base again.
"""

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

from flax import serialization, traverse_util
from tensorflow.io import gfile

from moe_lite.core import parameters
from moe_lite.core.errors import UserError

# The paths under which T5X's checkpoints keep parameters, and the state that
# the optimizer has for each of them.
_TARGET = 'target/'
_STATES = 'state/param_states/'


def save_trainable(
  state_dict: Any, parameter_infos: Any, trainable: str
) -> tuple[Any, Any]:
  """Drops the base from what T5X saves.

  What trains, its optimizer state and the step stay. The function is for
  `SaveCheckpointConfig.state_transformation_fns`.

  Args:
    state_dict: the state that T5X saves.
    parameter_infos: what T5X knows of each of its leaves.
    trainable: the pattern of what trains; see `parameters.split`.

  Returns:
    Both arguments without the base.
  """
  keep = functools.partial(_keep_trainable, trainable=trainable)
  return keep(state_dict), keep(parameter_infos)


def restore_onto_base(
  state_dict: Any,
  target_state_dict: Any,
  base_path: str,
  is_resuming: bool = False,
) -> Any:
  """Adds the base to what T5X restores.

  The function is for `RestoreCheckpointConfig.state_transformation_fns`.

  Args:
    state_dict: the state in a checkpoint, which may hold adapters alone or a
      whole model.
    target_state_dict: the state of the model now. Its leaves are returned.
    base_path: the T5X checkpoint of the base that the adapters belong to.
    is_resuming: whether T5X continues a run of its own.

  Returns:
    The state to restore. If a run begins, this is parameters alone, because the
    step and the optimizer's state begin anew.

  Raises:
    UserError: if the base lacks a parameter of the network.
  """
  found, wanted = flatten(state_dict), flatten(target_state_dict)
  is_evaluation = not any(path.startswith(_STATES) for path in wanted)
  if _TARGET + 'token_embedder/embedding' in found:
    if is_resuming:  # The checkpoints of full fine-tuning are whole.
      return state_dict
    _check_base(base_path, found, wanted)
    begins_anew = lambda path: path.startswith('state/') and not is_evaluation
    found = {path: x for path, x in found.items() if not begins_anew(path)}
    return traverse_util.unflatten_dict(found, sep='/')
  base = _read_base(base_path)
  _check_base(base_path, base, wanted)
  merged = {}
  for path in wanted:
    if path in found:
      merged[path] = found[path]
    elif path in base:
      merged[path] = base[path]
    elif path.startswith(_STATES):
      # Where no optimizer keeps a state, T5X holds None.
      merged[path] = None
  return traverse_util.unflatten_dict(merged, sep='/')


def flatten(tree: Any) -> dict[str, Any]:
  """Maps the path of each leaf to the leaf.

  A mapping that describes an array on disk is a leaf.
  """
  return traverse_util.flatten_dict(
    tree,
    sep='/',
    is_leaf=lambda _, node: isinstance(node, Mapping) and 'driver' in node,
  )


def _keep_trainable(tree: Any, trainable: str) -> Any:
  """Drops parameters that do not train, and the state of them."""
  is_trainable = re.compile(trainable).fullmatch
  kept = {}
  for path, leaf in flatten(tree).items():
    name = path.removeprefix(_TARGET).removeprefix(_STATES)
    if name == path or is_trainable(name):
      kept[path] = leaf
  return traverse_util.unflatten_dict(kept, sep='/')


def _read_base(path: str) -> dict[str, Any]:
  """Reads the parameters of a T5X checkpoint.

  Large ones are not read. A mapping describes where they lie on disk.
  """
  file = os.path.join(path, 'checkpoint')
  if not gfile.exists(file):
    raise UserError(
      f'INITIAL_CHECKPOINT_PATH = {path!r} is not a T5X checkpoint, because it '
      "has no file 'checkpoint': give a folder such as .../checkpoint_1100000."
    )
  with gfile.GFile(file, 'rb') as stream:
    contents = serialization.msgpack_restore(stream.read())
  leaves = flatten(contents['optimizer'])
  return {
    key: _absolute(leaf, path)
    for key, leaf in leaves.items()
    if key.startswith(_TARGET)
  }


def _absolute(leaf: Any, folder: str) -> Any:
  """Makes the path of an array absolute.

  T5X would otherwise look for the array in the checkpoint that it restores.
  """
  if not isinstance(leaf, Mapping):
    return leaf
  store = dict(leaf['kvstore'])
  store['path'] = os.path.join(os.path.abspath(folder), store['path'])
  return {**leaf, 'kvstore': store}


def _check_base(
  base_path: str, base: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  """Checks that the base has all parameters that do not belong to adapters.

  A parameter that it lacks would otherwise keep its random draw.
  """
  missing = [
    path.removeprefix(_TARGET)
    for path in wanted
    if path.startswith(_TARGET)
    and not parameters.is_adapter(path.removeprefix(_TARGET))
    and path not in base
  ]
  if missing:
    raise UserError(
      f'The base {base_path} lacks {len(missing)} parameters of this network. '
      f'The first is {missing[0]}. Give the checkpoint of a model of this '
      'size, and the SCAN_LAYERS with which it was saved.'
    )
