"""A compiled program's text, and how often each part of it runs.

XLA's own cost analysis counts the body of a loop once. Here every computation
has the number of times that it runs, which follows from the trip counts of the
loops around it.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator

_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$')
_CALLED = re.compile(
  r'(calls|body|condition|to_apply|true_computation|false_computation)'
  r'=%([\w.\-]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_NAME = re.compile(r'%([\w.\-]+)')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: its name, unique in the program.
    type: the type of its result, as XLA writes it; see `sizes`.
    opcode: what it does, such as 'fusion' or 'all-reduce'.
    arguments: what stands within its parentheses.
    rest: the line after them, with the instruction's attributes.
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
    """The names of the instructions whose results it takes."""
    return _NAME.findall(self.arguments)

  @property
  def called(self) -> dict[str, str]:
    """The role of each computation that it calls, to that one's name."""
    return dict(_CALLED.findall(self.rest))


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program.

  Attributes:
    computations: the instructions of each computation, by its name.
    runs: how often each computation runs when the program runs once.
    fused: the computations that are part of a fusion. Nothing within them goes
      to main memory.
  """

  computations: dict[str, list[Instruction]]
  runs: dict[str, int]
  fused: set[str]


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
  """Yields the role and the name of each computation that it calls."""
  yield from _CALLED.findall(i.rest)
  if branches := _BRANCHES.search(i.rest):
    for name in _NAME.findall(branches[1]):
      yield 'branch', name


def _trips(condition: list[Instruction]) -> int:
  """The number that a counted loop compares its counter with."""
  bounds = [
    int(i.arguments)
    for i in condition
    if i.opcode == 'constant' and i.arguments.isdigit()
  ]
  return max(bounds, default=1)
