"""README's first command, whole."""

import json
import os
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
  assert 'What to try next' in first.stdout
  saved = written_at(folder / 'checkpoints')
  second = run(folder)
  assert second.returncode == 0, second.stderr
  assert 'nothing is left to do' in second.stderr
  assert written_at(folder / 'checkpoints') == saved


def test_an_unknown_argument_removes_nothing(tmp_path):
  (tmp_path / 'kept').touch()
  done = run(tmp_path, '--fersh')
  assert done.returncode == 2 and "'--fersh'" in done.stderr
  assert (tmp_path / 'kept').exists()
