"""Finds a mesh for the devices there are: the cheapest one that will do."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say

AUTO = 'auto'
T = TypeVar('T')


def first_mesh(attempt: Callable[[tuple[int, int], bool], T]) -> T:
  """Tries the meshes of all devices in turn, and stops at one that will do.

  Args:
    attempt: the function to try a mesh with. It takes (data, model), and
      whether to shard fully. It raises UserError if the mesh will not do.

  Returns:
    What `attempt` returned for the first mesh that will do, in the order of
    `meshes`.

  Raises:
    UserError: if no mesh will do. The message says why each of them will not.
  """
  problems, count = [], jax.device_count()
  for shape, split in meshes(count):
    try:
      found = attempt(shape, split)
    except UserError as error:
      problems.append(f'{shape}{" fully sharded" if split else ""}: {error}')
      continue
    say(f'MESH = {AUTO!r} takes {shape}, FULLY_SHARDED = {split}.')
    return found
  tried = '\n'.join(f'  {problem}' for problem in problems)
  raise UserError(
    f'MESH = {AUTO!r}: no mesh of {count} devices will do.\n{tried}'
  )


def meshes(num_devices: int) -> Iterator[tuple[tuple[int, int], bool]]:
  """Yields the meshes of all devices, the cheapest first.

  Meshes differ in what moves between devices. If the base is replicated over
  `data`, only gradients move. If it is also sharded over `data`, each layer
  moves once in the forward pass and once in the backward pass. A `model` axis
  moves activations.

  Yields:
    (data, model), and whether to shard the base over `data` as well.
  """
  for model in range(1, num_devices + 1):
    if num_devices % model == 0:
      data = num_devices // model
      yield (data, model), False
      if data > 1:
        yield (data, model), True
