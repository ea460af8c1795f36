"""Which mesh: the first of those there are that will do."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

from moe_lite.core.errors import UserError
from moe_lite.core.progress import say

AUTO = 'auto'
T = TypeVar('T')


def first_mesh(attempt: Callable[[tuple[int, int], bool], T]) -> T:
  """What `attempt` returns for the first mesh for which it raises nothing.

  Args:
    attempt: called with (data, model) and whether to shard fully; raises
      UserError where that will not do.

  Raises:
    UserError: if none will; it says why each will not.
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
  """Meshes of all devices, and whether to shard fully: cheapest first.

  Replicating the base over `data` moves nothing but gradients; sharding it
  also over `data` moves each layer once forward and once backward; a `model`
  axis moves activations.
  """
  for model in range(1, num_devices + 1):
    if num_devices % model == 0:
      data = num_devices // model
      yield (data, model), False
      if data > 1:
        yield (data, model), True
