"""How large the types are that a compiled program's text names.

A type is an array's, such as 'bf16[8,128]{1,0:T(8,128)S(1)}', or a tuple of
types in parentheses. In its layout, within braces, S(1) says that the array
lies in memory space 1, which is on the chip; without it, the array lies in main
memory.
"""

import math
import re

_ARRAY = re.compile(r'(\w+?)(\d*)\[([\d,]*)\](\{[^}]*\})?')
_ON_CHIP = re.compile(r'S\([1-9]\)')
# The bits of an element, where the name of its type does not end with them.
_BITS = {'pred': 8, 'bf': 16, 'token': 0, 'opaque': 0}
_EIGHT_BITS = ('f8e4m3fn', 'f8e5m2')


def size(type_: str, everywhere: bool = False) -> int:
  """The bytes of a type in main memory.

  Args:
    type_: the type.
    everywhere: whether to count what lies on the chip, too.
  """
  total = 0
  for kind, bits, dims, layout in _ARRAY.findall(type_):
    if not everywhere and _ON_CHIP.search(layout):
      continue
    width = int(bits) if bits else _BITS.get(kind, 0)
    if kind + bits in _EIGHT_BITS:
      width = 8
    total += _elements(dims) * width // 8
  return total


def count(type_: str) -> int:
  """The number of elements of a type."""
  return sum(_elements(dims) for _, _, dims, _ in _ARRAY.findall(type_))


def parts(type_: str) -> list[str]:
  """The types that a tuple's type lists."""
  found, depth, start = [], 0, 1
  for i, character in enumerate(type_):
    depth += (character in '([{') - (character in ')]}')
    if (character == ',' and depth == 1) or not depth:
      found.append(type_[start:i])
      start = i + 1
  return found


def _elements(dims: str) -> int:
  return math.prod(int(n) for n in dims.split(',') if n)
