"""Printed commands mean what was run, and read as a person would type them."""

import shlex
import subprocess
import sys

import pytest

from moe_lite.process import shell

# What a process was given, and how it is printed.
TYPED = {
  "--gin.MODEL_DIR='runs/a'": """--gin.MODEL_DIR="'runs/a'\"""",
  "--gin.SEEDS=[0, 'a']": """--gin.SEEDS="[0, 'a']\"""",
  '--gin.MESH=(4, 2)': "--gin.MESH='(4, 2)'",
  '--gin.NUM_EXPERTS=10': '--gin.NUM_EXPERTS=10',
  '--to=my runs/a': "--to='my runs/a'",
  'my runs/a': "'my runs/a'",
  'a b=c': "'a b=c'",
  "it's": '"it\'s"',
  '': "''",
}
# What both kinds of quotes, or an interactive shell, could change.
HARD = (
  """--gin.A='$HOME'""",
  """--gin.A='a"b'""",
  """--gin.A='a`b`\\'""",
  """--gin.A='now!'""",
  '--gin.A="b"',
  '~/runs',
  '--gin.A=a\nb',
)


@pytest.mark.parametrize('word', TYPED)
def test_a_word_is_written_as_a_person_would_type_it(word):
  assert shell.quote(word) == TYPED[word]


def test_a_shell_reads_the_same_words_again():
  words = [*TYPED, *HARD]
  printed = shell.line(words)
  assert shlex.split(printed) == words
  program = 'import sys; print(sys.argv[1:])'
  python = shlex.join([sys.executable, '-c', program])
  done = subprocess.run(
    ['bash', '-c', f'{python} {printed}'], capture_output=True, text=True
  )
  assert done.stdout.strip() == repr(words)


def test_scripts_print_a_line():
  words = ['-m', 'x', "--gin.A='b'"]
  done = subprocess.run(
    [sys.executable, '-m', 'moe_lite.process.shell', *words],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == '-m x --gin.A="\'b\'"\n'
