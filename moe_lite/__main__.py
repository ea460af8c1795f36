"""Lists the commands: `python -m moe_lite`."""

import sys

from moe_lite.core.errors import nearest
from moe_lite.process import gin_paths
from moe_lite.process.commands import COMMANDS


def text() -> str:
  """Returns a line for each command, and says what to read next."""
  width = max(len(command.name) for command in COMMANDS)
  lines = [f'  {x.name:<{width}}  {x.purpose}' for x in COMMANDS]
  return '\n'.join(
    [
      'moe_lite tunes a frozen T5 with mixtures of small experts.',
      '',
      'Commands, each with `python -m`:',
      *lines,
      '',
      'Read next:',
      '  python -m moe_lite.train --help   its flags, gin files and macros; so',
      '                                    for every command',
      '  README.md                         a first run, from a fresh clone',
      '  docs/                             tutorials, how-to pages, reference',
      f'  {gin_paths.folder()}',
      '                                    the gin files, with a README.md in',
      '                                    the checkout',
      '  python -c "import moe_lite; help(moe_lite.load)"',
      '                                    a trained model in Python',
    ]
  )


def main(argv: list[str]) -> int:
  """Prints the list, and returns the exit code."""
  words = [x for x in argv[1:] if x not in ('-h', '--help', 'help')]
  if not words:
    print(text())
    return 0
  names = [x.name for x in COMMANDS]
  short = {name.rpartition('.')[2]: name for name in names}
  word = words[0]
  hint = (
    f' Type python -m {short[word]}.'
    if word in short
    else nearest(word, [*names, *short])
  )
  print(
    f'error: python -m moe_lite takes no {word!r}: each command is a module.'
    f'{hint} Without arguments, they are listed.',
    file=sys.stderr,
  )
  return 2


if __name__ == '__main__':
  sys.exit(main(sys.argv))
