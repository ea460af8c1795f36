"""A compiled program's text: how often what runs, and what that moves.

XLA's own cost analysis counts the body of a loop once. Here every computation
has the number of times that it runs, from the loops' trip counts.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Iterator

_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$')
_ARRAY = re.compile(r'(\w+?)(\d*)\[([\d,]*)\](\{[^}]*\})?')
_CALLED = re.compile(
  r'(calls|body|condition|to_apply|true_computation|false_computation)'
  r'=%([\w.\-]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_CHANNEL = re.compile(r'channel_id=(\d+)')
_NAME = re.compile(r'%([\w.\-]+)')
_BITS = {'pred': 8, 'bf': 16, 'token': 0, 'opaque': 0}

COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
# What only names or passes on what lies in memory.
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


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: unique in the program.
    type: of the result, as XLA writes it.
    opcode: 'fusion', 'all-reduce', ...
    arguments: what stands within its parentheses.
    rest: the line after them: attributes.
    is_root: whether it is the computation's result.
  """

  name: str
  type: str
  opcode: str
  arguments: str
  rest: str
  is_root: bool

  @property
  def operands(self) -> list[str]:
    return _NAME.findall(self.arguments)

  @property
  def called(self) -> dict[str, str]:
    return dict(_CALLED.findall(self.rest))


@dataclasses.dataclass(frozen=True)
class Program:
  """Computations by name, and how often each runs in one execution."""

  computations: dict[str, list[Instruction]]
  runs: dict[str, int]
  _fused: set[str]

  def collectives(self) -> dict[str, tuple[int, int]]:
    """Kind to how many run, and the bytes that each chip gives to them."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    # One that runs beside computation stands in several fusions: its phases.
    seen: set[str] = set()
    for name, instructions in self.computations.items():
      times = self.runs.get(name, 0)
      types = {i.name: i.type for i in instructions}
      for instruction in instructions if times else ():
        kind = instruction.opcode.removesuffix('-start')
        channel = _CHANNEL.search(instruction.rest)
        if channel and channel[1] in seen:
          continue
        if kind in COLLECTIVES:
          seen |= {channel[1]} if channel else set()
          given = sum(
            size(types.get(operand, ''), everywhere=True)
            for operand in instruction.operands
          )
          found[kind][0] += times
          found[kind][1] += times * given
    return {kind: (n, b) for kind, (n, b) in sorted(found.items())}

  def bytes_moved(self) -> int:
    """Bytes to and from main memory."""
    total = 0
    for name, instructions in self.computations.items():
      times = self.runs.get(name, 0)
      if not times or name in self._fused:
        continue
      by_name = {i.name: i for i in instructions}
      total += times * sum(self._moved(i, by_name) for i in instructions)
    return total

  def _moved(self, i: Instruction, by_name: dict[str, Instruction]) -> int:
    if i.opcode in _FREE or i.opcode.endswith(('-done', '-update')):
      return 0
    if i.opcode == 'slice-start':
      # Its type: what is cut, the slice, and a context.
      part = _elements(i.type)[1]
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
      # What a fusion leaves on the chip is said by its own type alone.
      return read + min(self._written(body), size(i.type))
    return size(i.type) + sum(map(size, types))

  def _body(self, i: Instruction) -> list[Instruction]:
    """The computation of a fusion; empty for anything else."""
    if i.opcode != 'fusion':
      return []
    return self.computations.get(i.called.get('calls', ''), [])

  def _read(self, body: list[Instruction], source: Instruction) -> int:
    """Bytes that a fusion reads of one of its parameters."""
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
        elif user.opcode != 'dynamic-update-slice' or position:
          return 1.0
    return min(share, 1.0)

  def _written(self, body: list[Instruction]) -> int:
    """Bytes that a fusion writes: where it updates an array, the update."""
    by_name = {i.name: i for i in body}

    def written(result: Instruction) -> int:
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


def parse(text: str) -> Program:
  """Reads what `compiled.as_text()` returns."""
  computations: dict[str, list[Instruction]] = {}
  entry, body = '', []
  for line in text.splitlines():
    if line.startswith('  ') and ' = ' in line:
      instruction = _instruction(line)
      if instruction is not None:
        body.append(instruction)
    elif match := _HEADER.match(line):
      body = computations[match[2]] = []
      entry = match[2] if match[1] else entry
  runs: dict[str, int] = defaultdict(int)
  fused: set[str] = set()

  def visit(name: str, times: int) -> None:
    runs[name] += times
    for i in computations[name]:
      for role, called in _calls(i):
        if called not in computations or role == 'to_apply':
          continue
        if role in ('body', 'condition'):
          trips = _trips(computations.get(i.called['condition'], []))
          visit(called, times * trips)
        else:
          if i.opcode == 'fusion' or name in fused:
            fused.add(called)
          visit(called, times)

  if entry:
    visit(entry, 1)
  return Program(computations, dict(runs), fused)


def size(type_: str, everywhere: bool = False) -> int:
  """Bytes of a type in main memory, or wherever it lies.

  'bf16[8,128]{1,0:T(8,128)S(1)}' lies in memory space 1, on the chip.
  """
  total = 0
  for kind, bits, dims, layout in _ARRAY.findall(type_):
    if not everywhere and re.search(r'S\([1-9]\)', layout):
      continue
    width = int(bits) if bits else _BITS.get(kind, 0)
    if kind + bits in ('f8e4m3fn', 'f8e5m2'):
      width = 8
    total += _elements_of(dims) * width // 8
  return total


def count(type_: str) -> int:
  """Elements of a type."""
  return sum(_elements_of(dims) for _, _, dims, _ in _ARRAY.findall(type_))


def _elements_of(dims: str) -> int:
  return math.prod(int(n) for n in dims.split(',') if n)


def _elements(type_: str) -> list[str]:
  """The outer elements of a tuple type."""
  elements, depth, start = [], 0, 1
  for i, character in enumerate(type_):
    depth += (character in '([{') - (character in ')]}')
    if (character == ',' and depth == 1) or not depth:
      elements.append(type_[start:i])
      start = i + 1
  return elements


def _instruction(line: str) -> Instruction | None:
  left, _, right = line.strip().partition(' = ')
  end = _end_of_type(right)
  opcode, paren, rest = right[end:].strip().partition('(')
  if not paren:
    return None
  close = _closing(rest)
  return Instruction(
    name=left.removeprefix('ROOT ').lstrip('%'),
    type=right[:end],
    opcode=opcode,
    arguments=rest[:close],
    rest=rest[close:],
    is_root=left.startswith('ROOT '),
  )


def _end_of_type(text: str) -> int:
  if not text.startswith('('):
    return text.index(' ') if ' ' in text else len(text)
  return 2 + _closing(text[1:])


def _closing(text: str) -> int:
  """Where the parenthesis that was opened before `text` closes."""
  depth = 1
  for match in re.finditer(r'[()]', text):
    depth += 1 if match[0] == '(' else -1
    if not depth:
      return match.start()
  return len(text)


def _calls(i: Instruction) -> Iterator[tuple[str, str]]:
  yield from _CALLED.findall(i.rest)
  if branches := _BRANCHES.search(i.rest):
    for name in _NAME.findall(branches[1]):
      yield 'branch', name


def _trips(condition: list[Instruction]) -> int:
  """The bound that a counted loop compares its counter with."""
  bounds = [
    int(i.arguments)
    for i in condition
    if i.opcode == 'constant' and i.arguments.isdigit()
  ]
  return max(bounds, default=1)
