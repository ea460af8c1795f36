"""What T5X's checkpoints hold of a run: what trains, and what it is.

The base is left out of a checkpoint, and `t5x_checkpointer` adds it again. In
its place stands a description, as JSON text: the method, the base with its
fingerprint, and the data. Nothing here needs T5X.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.leaf_shapes import shapes
from moe_lite.checkpoints.run_items import OPTIMIZER, TRAINABLE
from moe_lite.checkpoints.t5x.native import DESCRIPTION
from moe_lite.core import integrity, json_text, parameters
from moe_lite.core.types import DType

# The paths under which T5X's checkpoints keep parameters, and the state that
# the optimizer has for each of them.
TARGET = 'target/'
STATES = 'state/param_states/'
# A leaf that every base has, and no adapters have.
_OF_BASE = TARGET + 'token_embedder/embedding'


@dataclasses.dataclass(frozen=True)
class FromBase:
  """Stands for a parameter that the base gives, until the base is read."""


def save(
  state_dict: Any,
  infos: Any,
  trainable: str,
  said: Description,
  dtype: DType = jnp.float32,
) -> tuple[Any, Any]:
  """Drops the base from what T5X saves, and adds what the run says of itself.

  What trains, its optimizer state, all adapters and the step stay.

  Args:
    state_dict: the state that T5X saves.
    infos: what T5X knows of each of its leaves.
    trainable: the pattern of what trains; see `parameters.split`.
    said: what the run says of itself; its `step`, `tree` and `hashes` are
      filled in here.
    dtype: the type that T5X saves parameters in.

  Returns:
    What T5X is to save, and what it knows of each leaf of that.
  """
  keep = functools.partial(_keep_trainable, trainable=trainable)
  state_dict, infos = keep(state_dict), keep(infos)
  step = int(np.asarray(state_dict['state']['step']))
  target = parameters.cast(state_dict['target'], dtype)
  tree = jax.eval_shape(parameters.unstack_layers, target)
  said = dataclasses.replace(
    said,
    step=step,
    tree=shapes(tree),
    hashes=checksums({**state_dict, 'target': target}),
  )
  text = json_text.dumps(integrity.seal(said.to_json()))
  # T5X writes this into its own file, as it does the step.
  bytes_of_text = np.frombuffer(text.encode(), np.uint8)
  info = dataclasses.replace(
    infos['state']['step'], name=DESCRIPTION, shape=bytes_of_text.shape
  )
  return (
    {**state_dict, DESCRIPTION: bytes_of_text},
    {**infos, DESCRIPTION: info},
  )


def checksums(state_dict: Any) -> dict[str, dict[str, str]]:
  """The checksums of what trains, and of its optimizer state, by path.

  Every process must call this.
  """
  leaves = flatten(state_dict)
  return {
    item: integrity.checksums(
      {
        path.removeprefix(start): leaf
        for path, leaf in leaves.items()
        if path.startswith(start) and leaf is not None
      }
    )
    for item, start in ((TRAINABLE, TARGET), (OPTIMIZER, STATES))
  }


def check(where: str, state_dict: Any, said: Description) -> None:
  """Compares what was restored with what was saved.

  Args:
    where: the checkpoint, for messages.
    state_dict: what trains, in any type, and the optimizer's state; an
      evaluation does not restore the latter.
    said: what the checkpoint says.

  Raises:
    Damaged: if a leaf is another one.
  """
  if said.hashes is None:
    return
  (dtype,) = {dtype for _, dtype in said.tree.values()}
  target = parameters.cast(state_dict['target'], jnp.dtype(dtype))
  found = checksums({**state_dict, 'target': target})
  for item, of_item in found.items():
    if of_item:
      integrity.check_same(where, said.hashes[item], of_item)


def is_whole(state_dict: Any) -> bool:
  """Whether a checkpoint holds a base, and not adapters alone."""
  return _OF_BASE in flatten(state_dict)


def lacks(state_dict: Any, wanted: Any) -> list[str]:
  """The parameters of a network that a checkpoint lacks, by path."""
  found = flatten(state_dict)
  return [
    path.removeprefix(TARGET)
    for path in flatten(wanted)
    if path.startswith(TARGET) and path not in found
  ]


def add_base(state_dict: Any, wanted: Any) -> Any:
  """Adds what a checkpoint of adapters lacks.

  Args:
    state_dict: the state in the checkpoint.
    wanted: the state of the model now. Its leaves are returned.

  Returns:
    The state to restore. `FromBase` stands for the parameters of the base.
  """
  found, merged = flatten(state_dict), {}
  for path in flatten(wanted):
    name = path.removeprefix(TARGET)
    if path in found:
      merged[path] = found[path]
    elif name != path and not parameters.is_adapter(name):
      merged[path] = FromBase()
    elif path.startswith(STATES):
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
  """Drops parameters of the base that do not train, and unneeded states."""
  is_trainable = re.compile(trainable).fullmatch
  kept = {}
  for path, leaf in flatten(tree).items():
    name = path.removeprefix(TARGET).removeprefix(STATES)
    is_adapter = path.startswith(TARGET) and parameters.is_adapter(name)
    if name == path or is_adapter or is_trainable(name):
      kept[path] = leaf
  return traverse_util.unflatten_dict(kept, sep='/')
