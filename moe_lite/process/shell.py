"""Writes a command as a person would type it in a shell.

  python -m moe_lite.process.shell WORD WORD ...

prints the words as one line, for scripts that show what they run.
"""

import re
import shlex
import sys
from collections.abc import Iterable

# What a shell changes within double quotes.
_SPECIAL = re.compile(r'["$`\\!]')
_FLAG = re.compile(r'(--?[\w.-]+=)(.+)', re.DOTALL)


def line(words: Iterable[str]) -> str:
  """Returns a line that a shell splits into `words` again.

  Where a flag's value needs quotes, they stand around the value alone, as in
  --gin.MODEL_DIR="'runs/mov'".
  """
  return ' '.join(map(quote, words))


def quote(word: str) -> str:
  """Returns a word as a shell reads it, with quotes where it needs them."""
  if shlex.quote(word) == word:
    return word
  flag = _FLAG.fullmatch(word)
  name, value = flag.groups() if flag else ('', word)
  if "'" in value and not _SPECIAL.search(value):
    return f'{name}"{value}"'
  return f'{name}{shlex.quote(value)}'


if __name__ == '__main__':
  print(line(sys.argv[1:]))
