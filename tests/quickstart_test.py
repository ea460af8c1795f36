"""README's first command, whole."""

import json
import os
import re
import shlex
import subprocess

import pytest

from tests.paths import ROOT

SCRIPT = ROOT / 'launch' / 'quickstart.sh'


def run(folder, *arguments):
  return subprocess.run(
    ['bash', str(SCRIPT), *arguments],
    env={**os.environ, 'RUN': str(folder)},
    capture_output=True,
    text=True,
  )


def written_at(folder):
  return {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.is_file()}


def is_typeable(command):
  """Whether its quotes are those that a person would type."""
  return '\\' not in command and not re.search(r"""'["']'|"'"'""", command)


def try_next(printed, number, folder):
  """Runs one of the commands that are printed at the end, in another folder."""
  after = printed.partition('What to try next')[2]
  of_number = re.split(r'^\d\. ', after, flags=re.M)[number]
  commands = [
    line for line in of_number.splitlines(True) if line.startswith('   ')
  ]
  # The words before a colon go on in the next line.
  text = ''.join(commands).rpartition('):\n')[2]
  return shell(text, folder)


def shell(text, folder):
  done = subprocess.run(
    ('bash', '-euc', text), cwd=folder, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done


@pytest.mark.slow
def test_it_ends_with_a_table_and_a_second_run_has_nothing_to_do(tmp_path):
  folder = tmp_path / 'run'
  first = run(folder)
  assert first.returncode == 0, first.stderr
  written = {path.name for path in folder.iterdir()}
  wanted = ('results.json', 'results.md', 'loss.png', 'routing')
  assert written >= {*wanted, 'config.gin', 'checkpoints'}
  assert (folder / 'routing' / 'index.html').stat().st_size > 100_000
  table = json.loads((folder / 'results.json').read_text())
  assert [r['name'] for r in table['runs']] == ['frozen base', 'MoV-10']
  assert len(table['datasets']) == 4
  for dataset in table['datasets']:
    assert f'| {dataset["dataset"]} ' in first.stdout
  saved = written_at(folder / 'checkpoints')
  second = run(folder)
  assert second.returncode == 0, second.stderr
  assert 'nothing is left to do' in second.stderr
  assert written_at(folder / 'checkpoints') == saved
  printed = re.findall(r'^\$ (.*)$', first.stdout, re.M)
  assert [shlex.split(line)[2] for line in printed] == [
    'moe_lite.train',
    'moe_lite.eval',
    'moe_lite.eval',
    'moe_lite.routing_report',
    'moe_lite.report',
  ]
  for line in printed:
    assert is_typeable(line), line
  # A printed command is the one that ran, so it has nothing to do either.
  assert 'nothing is left to do' in shell(printed[0], ROOT).stderr
  assert written_at(folder / 'checkpoints') == saved
  # What is printed at the end works too.
  (tmp_path / '.venv').symlink_to(ROOT / '.venv')
  try_next(first.stdout, 1, tmp_path)
  (answers,) = (folder / 'infer').glob('*.jsonl')
  assert len(answers.read_text().splitlines()) == 1
  trained = try_next(
    first.stdout.replace('TRAIN_STEPS=200', 'TRAIN_STEPS=2'), 2, tmp_path
  )
  (evaluation,) = re.findall(r'python -m moe_lite.eval .*', trained.stderr)
  assert is_typeable(evaluation)
  # As many examples as the quickstart takes, or they cannot be compared.
  (more,) = re.findall(r'--gin.NUM_EXAMPLES=\d+', first.stdout.split('2. ')[-1])
  shell(f'.venv/bin/{evaluation} {more}', tmp_path)
  compared = try_next(first.stdout, 3, tmp_path)
  assert '| IA3 |' in re.sub(' +', ' ', compared.stdout)


def test_an_unknown_argument_removes_nothing(tmp_path):
  (tmp_path / 'kept').touch()
  done = run(tmp_path, '--fersh')
  assert done.returncode == 2 and "'--fersh'" in done.stderr
  assert (tmp_path / 'kept').exists()
