"""What docs/reference/troubleshooting.md quotes are messages of the code."""

import ast
import functools
import re

import pytest

from tests.paths import ROOT

PAGE = ROOT / 'docs' / 'reference' / 'troubleshooting.md'
# What differs from one message to the next: in the page, and here in the code.
GAP, HOLE = '…', '\0'
# What Python and the shell say, and not this package.
OTHERS = {'No module named moe_lite', 'python: command not found'}
QUOTED = [
  message
  for heading in re.findall('^### (.*)$', PAGE.read_text(), re.M)
  for message in re.findall('`([^`]+)`', heading)
]


def text(node):
  """A string of the code, with a hole for every value; None for others."""
  if isinstance(node, ast.Constant):
    return node.value if isinstance(node.value, str) else None
  if isinstance(node, ast.JoinedStr):
    return ''.join(text(x) or HOLE for x in node.values)
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
    return (text(node.left) or HOLE) + (text(node.right) or HOLE)
  return None


@functools.cache
def strings():
  """All strings of the package but docstrings, which stand alone."""
  found = set()
  for file in (
    *(ROOT / 'moe_lite').rglob('*.py'),
    *(ROOT / 'tasks').rglob('*.py'),
  ):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    alone = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found |= {text(node) for node in nodes if id(node) not in alone}
  return found - {None}


def has(message, string):
  """Whether a string has the fixed words of a message, in their order."""
  place = 0
  for words in filter(None, (x.strip() for x in message.split(GAP))):
    place = string.find(words, place)
    if place < 0:
      return False
    place += len(words)
  return True


@pytest.mark.parametrize('message', sorted(set(QUOTED) - OTHERS))
def test_a_quoted_message_is_one_of_the_code(message):
  assert any(has(message, string) for string in strings())


def test_the_page_quotes_messages():
  assert len(QUOTED) > 50
  assert not has('no such … message', 'no such thing')
  assert has('no such … message', f'There is no such {HOLE} and message.')
