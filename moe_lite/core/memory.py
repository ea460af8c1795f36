"""Bytes of memory: how many a program takes, and how many a device has."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from moe_lite.core.errors import UserError

GIB = 2**30

# XLA has two messages that say how many bytes it wants, and how many there are.
_EXHAUSTED = re.compile(
  r'(?:temporaries|arguments)? ?\(?([\d.]+)([KMG])i?B?\)? '
  r'(?:exceeds available HBM \(|of )([\d.]+)([KMG])'
)
_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30}


class DoesNotFit(UserError):
  """A program wants more memory than a device has.

  Attributes:
    wanted: how many bytes the program takes. If only some of its arrays were
      counted, the number is theirs. None if the compiler did not say.
    available: how many bytes a device has; None if the compiler did not say.
  """

  def __init__(
    self, message: str, wanted: int | None = None, available: int | None = None
  ):
    super().__init__(message)
    self.wanted = wanted
    self.available = available


@dataclasses.dataclass(frozen=True)
class Usage:
  """How many bytes a program takes on one device while it runs.

  Attributes:
    arguments: the bytes of its arguments.
    temporaries: the bytes of activations, gradients and the like.
    outputs: the bytes of its outputs. Outputs that take the place of a donated
      argument do not count.
    code: the bytes of the program itself.
  """

  arguments: int
  temporaries: int
  outputs: int
  code: int

  @property
  def total(self) -> int:
    return self.arguments + self.temporaries + self.outputs + self.code


def usage(program: Any) -> Usage:
  """Returns the memory that a compiled program takes, as its compiler says."""
  stats = program.memory_analysis()
  return Usage(
    arguments=stats.argument_size_in_bytes,
    temporaries=stats.temp_size_in_bytes,
    outputs=stats.output_size_in_bytes - stats.alias_size_in_bytes,
    code=stats.generated_code_size_in_bytes,
  )


def on_a_device(tree: Any) -> int:
  """Returns how many bytes of a tree lie on each device.

  Args:
    tree: shapes with shardings.
  """
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * np.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(tree)
  )


def capacity(device: Any) -> int | None:
  """Returns how many bytes programs may use on a device.

  Returns:
    None if the device does not say.
  """
  try:
    stats = device.memory_stats()
  except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
    return None  # The device is part of a topology that is only described.
  return (stats or {}).get('bytes_limit')


def check_arguments(arguments: Any, limit: int | None) -> int:
  """Returns how many bytes the arguments of a program take on each device.

  Args:
    arguments: shapes with shardings.
    limit: how many bytes a device has; None if that is not known.

  Raises:
    DoesNotFit: if the arguments take more than `limit`.
  """
  held = on_a_device(arguments)
  if limit is not None and held > limit:
    raise DoesNotFit(
      f'parameters and batch alone take {held / GIB:.2f} GiB of a device that '
      f'has {limit / GIB:.2f} GiB.',
      held,
      limit,
    )
  return held


def compile_within(
  compile_program: Callable[[], Any], arguments: Any, limit: int | None
) -> Any:
  """Compiles a program, and checks that it fits the memory of a device.

  Args:
    compile_program: compiles the program and returns it. It is not called if
      the arguments alone do not fit.
    arguments: the program's arguments, as shapes with shardings.
    limit: how many bytes a device has; None if only the compiler knows.

  Raises:
    DoesNotFit: if the program takes more than `limit`, or more than the
      compiler allows.
  """
  held = check_arguments(arguments, limit)
  try:
    program = compile_program()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise _explain(str(error), held) from error
  if limit is None:
    return program
  total = usage(program).total
  if total > limit:
    raise DoesNotFit(
      f'the step takes {total / GIB:.2f} GiB of a device that has '
      f'{limit / GIB:.2f} GiB.',
      total,
      limit,
    )
  return program


def _explain(text: str, held: int) -> DoesNotFit:
  """Returns the error for a compiler's message.

  Args:
    text: the message.
    held: how many bytes the program's arguments take.
  """
  found = _EXHAUSTED.search(text)
  if not found:
    return DoesNotFit(f'the compiler found no room: {text.splitlines()[0]}')
  wanted, available = (
    int(float(found[i]) * _UNITS[found[i + 1]]) for i in (1, 3)
  )
  # One of the two messages counts only temporaries.
  if 'HLO temporaries' in text:
    wanted += held
  return DoesNotFit(
    f'the step takes {wanted / GIB:.2f} GiB of a device that has '
    f'{available / GIB:.2f} GiB.',
    wanted,
    available,
  )
