"""The shapes of a tree's leaves in JSON, and the difference of two trees."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import Tree


def shapes(tree: Tree) -> dict[str, Any]:
  """The shape and type of every leaf: {'encoder/...': [[8, 4], 'float32']}.

  Args:
    tree: nested or flat, with leaves that have a shape and a type.
  """
  return {
    path: [list(leaf.shape), np.dtype(leaf.dtype).name]
    for path, leaf in parameters.flatten(tree).items()
  }


def check_fits(trainable: Tree, wanted: Tree, run_folder: str) -> None:
  """Raises UserError unless a run's leaves are those that a network wants.

  Args:
    trainable: what the run trained, unrolled.
    wanted: the shapes that the network wants, unrolled.
    run_folder: the run's folder, for the message.
  """
  problem = difference(shapes(trainable), shapes(wanted))
  if problem:
    raise UserError(
      f'The run {run_folder} holds another method than this command names: '
      f'{problem}'
    )


def difference(
  saved: Mapping[str, Any], wanted: Mapping[str, Any], most: int = 4
) -> str:
  """Says how the shapes of two trees differ; '' where they do not.

  Args:
    saved: what `shapes` gave for the tree of a checkpoint.
    wanted: what `shapes` gives for the tree that is wanted now.
    most: how many leaves to name.
  """
  lines = []
  for path in sorted(set(wanted) - set(saved)):
    lines.append(f'{path} is not in the checkpoint.{nearest(path, saved, 1)}')
  for path in sorted(set(saved) - set(wanted)):
    lines.append(f'{path} is in the checkpoint, but not wanted now.')
  for path in sorted(set(saved) & set(wanted)):
    # Each entry is a shape and a type; types are not compared.
    old, new = list(saved[path][0]), list(wanted[path][0])
    if old != new:
      lines.append(f'{path} is {old} in the checkpoint, now {new}.')
  if not lines:
    return ''
  if len(lines) > most:
    lines = [*lines[:most], f'... and {len(lines) - most} more leaves.']
  return '\n'.join(
    [
      '',
      *(f'  {line}' for line in lines),
      'Give the methods/ gin file, macros (NUM_EXPERTS, RANK, ...) and '
      'OPTIMIZER that it was trained with (its config.gin has them), or '
      'another MODEL_DIR.',
    ]
  )
