"""What a compiled program moves: between chips, and to and from main memory."""

import re
from collections import defaultdict
from collections.abc import Iterator

from moe_lite.preflight.hlo import Instruction, Program
from moe_lite.preflight.sizes import count, parts, size

COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
# What moves nothing, but names or passes on what lies in memory.
_FREE = {
  'parameter',
  'constant',
  'tuple',
  'get-tuple-element',
  'bitcast',
  'while',
  'conditional',
  'call',
  'after-all',
  'partition-id',
  'replica-id',
  'iota',
}
# A custom call that only makes room.
_MAKES_ROOM = 'custom_call_target="AllocateBuffer"'
# The first and the last phase of a collective that runs beside something else.
_PHASES = 'async-collective-'
_CHANNEL = re.compile(r'channel_id=(\d+)')


def collectives(program: Program) -> dict[str, tuple[int, int]]:
  """How often each kind runs, and the bytes that each chip gives to it."""
  found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
  for _, instruction, types, times in _collectives(program):
    given = sum(size(x, everywhere=True) for x in types)
    kind = instruction.opcode.removesuffix('-start')
    found[kind][0] += times
    found[kind][1] += times * given
  return {kind: (n, b) for kind, (n, b) in sorted(found.items())}


def _collectives(
  program: Program,
) -> Iterator[tuple[str, Instruction, list[str], int]]:
  """Yields each collective once.

  A collective that runs while something is computed stands in several fusions,
  one for each of its phases, under one channel.

  Yields:
    The computation that it stands in, the instruction, the types of its
    operands, and how often it runs.
  """
  seen: set[str] = set()
  for name, instructions in program.computations.items():
    times = program.runs.get(name, 0)
    types = {i.name: i.type for i in instructions}
    for i in instructions if times else ():
      channel = _CHANNEL.search(i.rest)
      if channel and channel[1] in seen:
        continue
      if i.opcode.removesuffix('-start') in COLLECTIVES:
        seen |= {channel[1]} if channel else set()
        yield name, i, [types.get(x, '') for x in i.operands], times


def bytes_moved(program: Program) -> int:
  """The bytes that go to and from the main memory of a chip."""
  traffic = _Traffic(program)
  total = 0
  for name, instructions in program.computations.items():
    times = program.runs.get(name, 0)
    if not times or name in program.fused:
      continue
    by_name = {i.name: i for i in instructions}
    total += times * sum(traffic.moved(i, by_name) for i in instructions)
  for name, i, types, times in _collectives(program):
    if name in program.fused:
      total += times * (size(i.type) + sum(map(size, types)))
  return total


class _Traffic:
  """What single instructions of a program move."""

  def __init__(self, program: Program):
    self._computations = program.computations

  def moved(self, i: Instruction, by_name: dict[str, Instruction]) -> int:
    """The bytes that an instruction moves.

    Args:
      i: the instruction.
      by_name: all instructions of its computation.
    """
    if i.opcode in _FREE or i.opcode.endswith(('-done', '-update')):
      return 0
    if _MAKES_ROOM in i.rest or i.name.startswith(_PHASES):
      return 0
    if i.opcode == 'slice-start':
      # Its type lists the array that is cut, the slice, and a context.
      part = parts(i.type)[1]
      return size(part, everywhere=True) + size(part)
    if i.opcode.endswith('-start'):
      return size(i.type)  # Its source is part of its type.
    types = [by_name[o].type if o in by_name else '' for o in i.operands]
    if i.opcode == 'dynamic-slice':
      return 2 * size(i.type)
    if i.opcode == 'dynamic-update-slice':
      return 2 * size(types[1])
    body = self._body(i)
    if body:
      read = sum(self._read(body, p) for p in body if p.opcode == 'parameter')
      # Only the type of the fusion itself says what it leaves on the chip.
      return read + min(self._written(body), size(i.type))
    return size(i.type) + sum(map(size, types))

  def _body(self, i: Instruction) -> list[Instruction]:
    """The computation of a fusion; empty for anything else."""
    if i.opcode != 'fusion':
      return []
    return self._computations.get(i.called.get('calls', ''), [])

  # A fusion may hold a phase of a collective. Such a fusion gets the arrays of
  # the collective, and hands them on; it moves none of them.

  def _read(self, body: list[Instruction], source: Instruction) -> int:
    """The bytes that a fusion reads of one of its parameters."""
    return int(size(source.type) * self._share_read(body, source))

  def _share_read(self, body: list[Instruction], source: Instruction) -> float:
    """The share of a value's elements that a fusion looks at."""
    share, elements = 0.0, max(1, count(source.type))
    for user in body:
      for position, operand in enumerate(user.operands):
        if operand != source.name:
          continue
        if user.opcode in ('dynamic-slice', 'slice', 'gather'):
          share += count(user.type) / elements
        elif user.opcode in ('bitcast', 'convert', 'copy', 'reshape'):
          share += self._share_read(body, user)
        elif inner := self._body(user):
          # A fusion within a fusion.
          parameter = next(
            p
            for p in inner
            if p.opcode == 'parameter' and p.arguments == str(position)
          )
          share += self._share_read(inner, parameter)
        elif user.opcode == 'tuple' or user.opcode in COLLECTIVES:
          continue
        elif user.opcode != 'dynamic-update-slice' or position:
          return 1.0
    return min(share, 1.0)

  def _written(self, body: list[Instruction]) -> int:
    """The bytes that a fusion writes.

    Where it updates a part of an array, only that part is written.
    """
    by_name = {i.name: i for i in body}

    def written(result: Instruction) -> int:
      if result.opcode == 'parameter' or result.opcode in COLLECTIVES:
        return 0
      if result.opcode in ('tuple', 'bitcast'):
        sources = [by_name[o] for o in result.operands if o in by_name]
        if result.opcode == 'bitcast' and sources[0].opcode not in (
          'dynamic-update-slice',
          'fusion',
        ):
          return size(result.type)
        return sum(map(written, sources))
      if result.opcode == 'dynamic-update-slice':
        return size(by_name[result.operands[1]].type)
      inner = self._body(result)
      return self._written(inner) if inner else size(result.type)

    return written(next(i for i in body if i.is_root))
