"""How long the first hour of a new user takes, part by part.

  python -m tests.benchmarks.first_hour --to=DIR [--python=PATH] [--only=PARTS]

clones the committed state of this checkout to DIR/checkout, and then does what
the documentation says, with the commands that stand in it:

  install     makes .venv and installs the package. With --python, an
              interpreter that has all packages takes its place, and nothing is
              installed
  quickstart  README's first command, to its table
  own_task    docs/tutorials/own_task.md, to the answer of the exported adapter,
              with the minutes of each section
  page        the routing page of the quickstart's run, anew

It prints one line of JSON with the minutes of each part, and asserts nothing.
DIR must not exist. Compiled programs are kept in DIR, so none is there before.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

from absl import app, flags

from moe_lite.core import json_text
from moe_lite.process.environment import environment
from tests.docs_test import PYTHON, SHELL, script
from tests.paths import ROOT

PARTS = ('install', 'quickstart', 'own_task', 'page')
TO = flags.DEFINE_string('to', None, 'A new folder.', required=True)
INTERPRETER = flags.DEFINE_string('python', None, 'It has all packages.')
ONLY = flags.DEFINE_multi_enum('only', PARTS, PARTS, 'The parts to time.')

PAGE = ROOT / 'docs/tutorials/own_task.md'
# What the page shows after this is another way to the same.
END = 'The same without a module'
# The interpreter of --python, as an environment of the clone.
WRAPPER = '#!/bin/sh\nPYTHONPATH={checkout} exec {python} "$@"\n'


def sections(page: str) -> dict[str, str]:
  """The script of each section of a page that has one, by its heading."""
  _, *parts = re.split(r'^## ', page.partition(f'## {END}')[0], flags=re.M)
  found = {}
  for part in parts:
    heading, _, text = part.partition('\n')
    if commands := script(text, (SHELL, PYTHON)):
      found[heading] = commands
  return found


def borrow(python: str, checkout: pathlib.Path) -> None:
  """Gives a clone an environment that is the interpreter `python`."""
  (checkout / '.venv' / 'bin').mkdir(parents=True)
  wrapper = checkout / '.venv' / 'bin' / 'python'
  wrapper.write_text(
    WRAPPER.format(checkout=shlex.quote(str(checkout)), python=python)
  )
  wrapper.chmod(0o755)
  # The stamp that launch/venv.sh looks for.
  stamp = subprocess.run(
    ('cksum', 'setup.py'), cwd=checkout, capture_output=True, check=True
  )
  (checkout / '.venv' / 'installed').write_bytes(stamp.stdout)


def main(argv):
  del argv
  folder = pathlib.Path(TO.value).resolve()
  folder.mkdir()
  checkout, own, run = folder / 'checkout', folder / 'own', folder / 'run'
  own.mkdir()
  subprocess.run(('git', 'clone', '--quiet', ROOT, checkout), check=True)
  log = (folder / 'log.txt').open('w')
  given = {
    **os.environ,
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'programs'),
    'PATH': f'{checkout}/.venv/bin{os.pathsep}{os.environ["PATH"]}',
    'RUN': str(run),
  }
  load = os.getloadavg()[0]

  def minutes(commands: str, where: pathlib.Path) -> float:
    start = time.monotonic()
    done = subprocess.run(
      ('bash', '-euc', commands), cwd=where, env=given, stdout=log, stderr=log
    )
    if done.returncode:
      sys.exit(f'{commands}\n\nfailed; see {log.name}.')
    return round((time.monotonic() - start) / 60, 2)

  found = {}
  if INTERPRETER.value:
    borrow(INTERPRETER.value, checkout)
  elif 'install' in ONLY.value:
    found['install'] = minutes('bash launch/venv.sh', checkout)
  if 'quickstart' in ONLY.value:
    found['quickstart'] = minutes('bash launch/quickstart.sh', checkout)
  if 'own_task' in ONLY.value:
    of_sections = {
      heading: minutes(commands, own)
      for heading, commands in sections(PAGE.read_text()).items()
    }
    found['own_task'] = round(sum(of_sections.values()), 2)
    found['own_task_sections'] = of_sections
  if 'page' in ONLY.value:
    report = f'python -m moe_lite.routing_report "$RUN" --to={folder}/page'
    found['page'] = minutes(report, checkout)
  facts = {
    **environment(),
    'cpus': os.cpu_count(),
    'load_average': [round(load, 1), round(os.getloadavg()[0], 1)],
  }
  print(json_text.dumps({'minutes': found, **facts}))


if __name__ == '__main__':
  app.run(main)
