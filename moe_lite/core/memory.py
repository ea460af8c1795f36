"""Bytes of device memory: what a program takes, and what a device has."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from moe_lite.core.errors import UserError

GIB = 2**30

# XLA's two ways to say it: bytes wanted, of bytes there are.
_EXHAUSTED = re.compile(
  r'(?:temporaries|arguments)? ?\(?([\d.]+)([KMG])i?B?\)? '
  r'(?:exceeds available HBM \(|of )([\d.]+)([KMG])'
)
_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30}


class DoesNotFit(UserError):
  """A program wants more memory than a device has.

  Attributes:
    wanted: bytes, of what the compiler counted; None if it did not say.
    available: bytes; likewise.
  """

  def __init__(
    self, message: str, wanted: int | None = None, available: int | None = None
  ):
    super().__init__(message)
    self.wanted = wanted
    self.available = available


@dataclasses.dataclass(frozen=True)
class Usage:
  """Bytes on one device while a program runs.

  Attributes:
    arguments: what it is given.
    temporaries: activations, gradients and the like.
    outputs: what it returns, beyond donated arguments.
    code: the program.
  """

  arguments: int
  temporaries: int
  outputs: int
  code: int

  @property
  def total(self) -> int:
    return self.arguments + self.temporaries + self.outputs + self.code


def usage(program: Any) -> Usage:
  """What the compiler says that a compiled program takes."""
  stats = program.memory_analysis()
  return Usage(
    arguments=stats.argument_size_in_bytes,
    temporaries=stats.temp_size_in_bytes,
    outputs=stats.output_size_in_bytes - stats.alias_size_in_bytes,
    code=stats.generated_code_size_in_bytes,
  )


def on_a_device(tree: Any) -> int:
  """Bytes of a tree of shapes with shardings, on each device."""
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * np.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(tree)
  )


def capacity(device: Any) -> int | None:
  """Bytes that programs may use on a device; None where nothing says so."""
  try:
    stats = device.memory_stats()
  except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
    return None  # A device of a topology that is not there.
  return (stats or {}).get('bytes_limit')


def check_arguments(arguments: Any, limit: int | None) -> int:
  """Bytes of arguments on a device.

  Raises:
    DoesNotFit: if that is more than `limit`.
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
  """Compiles a program, or says that it does not fit.

  Args:
    compile_program: returns it.
    arguments: shapes with shardings; what alone takes too much is not compiled.
    limit: bytes of a device; None where only the compiler knows.

  Raises:
    DoesNotFit: if it wants more than `limit`, or than the compiler allows.
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
  found = _EXHAUSTED.search(text)
  if not found:
    return DoesNotFit(f'the compiler found no room: {text.splitlines()[0]}')
  wanted, available = (
    int(float(found[i]) * _UNITS[found[i + 1]]) for i in (1, 3)
  )
  # One of the two messages counts temporaries alone.
  if 'HLO temporaries' in text:
    wanted += held
  return DoesNotFit(
    f'the step takes {wanted / GIB:.2f} GiB of a device that has '
    f'{available / GIB:.2f} GiB.',
    wanted,
    available,
  )
