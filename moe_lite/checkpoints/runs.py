"""Runs of our own training loop, read by whoever does not train them.

`run_items` says what a checkpoint of a run holds, `run_checkpoints` writes it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from moe_lite.checkpoints import lazy_arrays, run_items
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.format import BaseFormat, Found
from moe_lite.checkpoints.lazy_arrays import Stored
from moe_lite.core import integrity, parameters
from moe_lite.core.errors import UserError
from moe_lite.core.types import Tree

_EMBEDDING = 'token_embedder/embedding'


def is_run_folder(path: str) -> bool:
  """Whether a run of ours has begun there."""
  return (epath.Path(path) / run_items.FOLDER).is_dir()


def restore_trainable(
  run_folder: str, step: int | None = None
) -> tuple[Tree, Description]:
  """Reads what a run trained, onto the host.

  Args:
    run_folder: the run's MODEL_DIR.
    step: the step of a checkpoint; None takes the last one.

  Returns:
    The trainable parameters, unrolled, as NumPy arrays; and what the checkpoint
    says of itself.

  Raises:
    UserError: if there is no such checkpoint.
  """
  with _reading(run_folder, step) as (manager, step, description):
    abstract = parameters.unflatten(
      {
        path: np.empty(shape, np.dtype(dtype))
        for path, (shape, dtype) in description.tree.items()
      }
    )
    restore_args = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract
    )
    trainable = run_items.restore_item(
      manager,
      step,
      run_items.TRAINABLE,
      ocp.args.PyTreeRestore(item=abstract, restore_args=restore_args),
    )
    run_items.check(manager, step, run_items.TRAINABLE, trainable, description)
    for name, leaf in parameters.flatten(trainable).items():
      integrity.check_finite(f'{run_folder} at step {step}', name, leaf)
    return trainable, description


def steps(run_folder: str) -> list[int]:
  """The steps of the whole checkpoints of a run, in order.

  Raises:
    UserError: if there is none.
  """
  with _reading(run_folder, None) as (manager, _, _):
    return run_items.whole_steps(manager)


def describe(run_folder: str, step: int | None = None) -> Description:
  """Reads only the description that `restore_trainable` returns."""
  with _reading(run_folder, step) as (_, _, description):
    return description


def read_base(
  run_folder: str, step: int | None = None
) -> dict[str, np.ndarray]:
  """Reads the base that a run trained: path to leaf, without adapters.

  Raises:
    UserError: if there is no such checkpoint, or it holds only adapters.
  """
  tree, _ = restore_trainable(run_folder, step)
  leaves = parameters.flatten(tree)
  if _EMBEDDING not in leaves:
    raise UserError(
      f'{run_folder} is a run that trained adapters only, so it holds no base. '
      "Give the base it started from, or a run with TRAINABLE = '.*'."
    )
  return {
    name: x for name, x in leaves.items() if not parameters.is_adapter(name)
  }


def not_a_run(path: str) -> UserError:
  """The error for a path that should be the folder of a run."""
  return UserError(
    f'{path!r} is not a run folder: it has no folder {run_items.FOLDER}/. Give '
    'the MODEL_DIR of a training run.'
  )


class _Run(BaseFormat):
  """The folder of a run. It is a base if the run trained every parameter."""

  name = 'run'
  has_steps = True

  def is_at(self, path: str) -> bool:
    return is_run_folder(path)

  def inspect(self, path: str) -> Found:
    return Found.of_trained(self.name, *restore_trainable(path))

  def describe(self, path: str, step: int | None = None) -> Description:
    return describe(path, step)

  def trained(
    self, path: str, step: int | None = None, assumed: Description | None = None
  ) -> tuple[Tree, Description]:
    return restore_trainable(path, step)

  def open(self, path: str, step: int | None = None) -> dict[str, Stored]:
    leaves = read_base(path, step)
    return {name: lazy_arrays.held(leaf) for name, leaf in leaves.items()}

  def network(self, path: str) -> Mapping[str, Any] | None:
    return describe(path).method.network

  def origin(self, path: str, step: int | None = None) -> dict[str, Any]:
    said = describe(path, step)
    return {'run': path, 'step': said.step, 'data': said.data}


FORMAT = _Run()


@contextlib.contextmanager
def _reading(
  run_folder: str, step: int | None
) -> Iterator[tuple[ocp.CheckpointManager, int, Description]]:
  """Opens a run at a step, the last one by default, with its description."""
  if not is_run_folder(run_folder):
    raise not_a_run(run_folder)
  manager = run_items.open_manager(run_folder)
  try:
    steps = run_items.whole_steps(manager)
    if not steps:
      raise UserError(
        f'The run {run_folder} has no whole checkpoint yet. Wait until it has '
        'written one (SAVE_PERIOD), or resume it.'
      )
    if step is None:
      step = steps[-1]
    if step not in steps:
      raise UserError(
        f'The run {run_folder} has no checkpoint at step {step}; it has '
        f'{", ".join(map(str, steps))}.'
      )
    with run_items.reading(manager, step):
      yield manager, step, run_items.describe(manager, step)
  finally:
    manager.close()
