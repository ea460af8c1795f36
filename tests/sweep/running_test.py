"""What a sweep runs, what it does not run again, and how it stops.

A stub stands in for training and evaluation.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from moe_lite.process import interrupts
from moe_lite.sweep import sweep_files
from tests.paths import ROOT
from tests.sweep import grids, stub

# A search of 2 rates for each of 2 methods, 2 seeds of each, the frozen base.
RUNS = 4 + 2 * 2 + 1


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A sweep that was never interrupted."""
  root = tmp_path_factory.mktemp('sweeps') / 'x'
  assert grids.sweep(root)
  return root


def page(root):
  return (root / sweep_files.MARKDOWN).read_text()


def commands(root):
  """What the logs say was started, in each."""
  return {
    str(path.relative_to(root)): path.read_text().count('$ python -m ')
    for path in root.rglob('*.log')
  }


def read(root):
  return json.loads((root / sweep_files.JSON).read_text())


def test_each_method_goes_on_with_its_best_rate_and_all_seeds(finished):
  swept = read(finished)
  assert swept['complete'] and not swept['failed']
  assert [row['variant'] for row in swept['rows']] == list(grids.COUNTS)
  for name in ('IA3', 'MoV'):
    tried = [one for one in swept['search'] if one['variant'] == name]
    best = max(tried, key=lambda one: one['average'])
    (row,) = [row for row in swept['rows'] if row['variant'] == name]
    assert row['choice'] == best['values'] and row['seeds'] == [0, 1]
    assert best['chosen'] and row['at_edge'] == ['LEARNING_RATE']
    assert row['training_seconds'] == 2.0 and row['step_bytes'] == 2**20
    # The table's numbers are not those of the search.
    folder = finished / name / best['choice'] / 'seed_0'
    results = json.loads((folder / 'eval' / 'results.json').read_text())
    assert row['average']['values'][0] == results['average']['median']
    assert not (folder.parent / 'seed_1' / 'validation').exists()
  for name in (sweep_files.MARKDOWN, sweep_files.CSV, sweep_files.PLOT):
    assert (finished / name).exists()


def test_a_run_of_the_search_is_not_trained_twice(finished):
  trained = [n for name, n in commands(finished).items() if 'train.log' in name]
  assert sum(trained) == 4 + 2 and set(trained) == {1}


def test_what_is_done_is_not_run_again(finished, tmp_path):
  root = tmp_path / 'x'
  shutil.copytree(finished, root)
  started = commands(root)
  assert grids.sweep(root)
  assert commands(root) == started
  assert page(root) == page(finished)
  # Of what is missing, only that: the evaluation, or all of a run.
  name = 'MoV/LEARNING_RATE=0.1/seed_0'
  shutil.rmtree(root / name / 'validation')
  assert grids.sweep(root)
  started[f'{name}/validation.log'] += 1
  assert commands(root) == started
  assert page(root) == page(finished)


def test_seeds_may_be_added(finished, tmp_path):
  root = tmp_path / 'x'
  shutil.copytree(finished, root)
  before = commands(root)
  assert grids.sweep(root, seeds=[0, 1, 2], jobs=3)
  after = commands(root)
  assert {n for n in after if after[n] != before.get(n)} == {
    n for n in after if 'seed_2' in n
  }
  assert [row['seeds'] for row in read(root)['rows']][1:] == [[0, 1, 2]] * 2


def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path, capsys):
  root = tmp_path / 'x'
  for rate in (0.1, 0.3):
    folder = root / 'MoV' / f'LEARNING_RATE={rate}' / 'seed_1'
    folder.mkdir(parents=True)
    (folder / stub.FAIL).touch()
  assert not grids.sweep(root)
  swept = read(root)
  (why,) = swept['failed'].values()
  assert why == 'train ended with code 2: the base is gone.'
  assert [row['seeds'] for row in swept['rows']] == [[0], [0, 1], [0]]
  assert 'Not complete' in page(root) and '1 of 2' in page(root)
  error = capsys.readouterr().err
  assert 'FAILED. train ended' in error and 'train.log' in error
  # Mended, only that run is left.
  for path in root.rglob(stub.FAIL):
    path.unlink()
  before = commands(root)
  assert grids.sweep(root)
  changed = {n for n, c in commands(root).items() if c != before.get(n)}
  assert all('seed_1' in name for name in changed) and len(changed) == 2


def test_without_a_choice_a_method_is_not_run_on(tmp_path):
  root = tmp_path / 'x'
  folder = root / 'MoV' / 'LEARNING_RATE=0.3' / 'seed_0'
  folder.mkdir(parents=True)
  (folder / stub.FAIL).touch()
  assert not grids.sweep(root)
  assert [row['seeds'] for row in read(root)['rows']] == [[0], [0, 1], []]
  assert not list(root.glob('MoV/*/*/eval'))


def start(root):
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.sweep.grids', str(root)],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.slow
def test_killed_at_a_random_moment_it_ends_with_the_same_table(
  finished, tmp_path
):
  root = tmp_path / 'x'
  # Another one in every run of the test; it is printed.
  draw = random.Random()
  done = draw.randrange(RUNS)
  process = start(root)
  while len(list(root.rglob('results.json'))) < done:
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.005)
  time.sleep(draw.uniform(0, 0.3))
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.stderr.close()
  print(f'Killed with {done} or more runs done.')
  assert grids.sweep(root)
  assert page(root) == page(finished)
  for name in (sweep_files.CSV, sweep_files.PLOT):
    assert (root / name).read_bytes() == (finished / name).read_bytes()
  started = commands(root)
  assert sum(started.values()) <= sum(commands(finished).values()) + 1


def test_the_table_is_written_while_runs_go_on(tmp_path, monkeypatch):
  root = tmp_path / 'x'
  pages = []
  write = sweep_files.write

  def note(*arguments):
    where = write(*arguments)
    pages.append(page(root))
    return where

  monkeypatch.setattr(sweep_files, 'write', note)
  assert grids.sweep(root, seeds=[0])
  # After 4 runs of the search, the frozen base and 2 evaluations, and at last.
  assert len(pages) == 4 + 1 + 2 + 1
  assert '| frozen base' in pages[0] and '## Search' in pages[0]
  assert all('Not complete' in text for text in pages[:-2])
  assert pages[-1] == pages[-2] and 'Not complete' not in pages[-1]


def test_a_signal_stops_runs_gently_and_says_how_to_go_on(
  tmp_path, monkeypatch
):
  root = tmp_path / 'x'
  sleep = time.sleep

  def interrupt(seconds):
    sleep(seconds)
    if any(root.rglob('train.log')):
      signal.raise_signal(signal.SIGTERM)
      monkeypatch.setattr(time, 'sleep', sleep)

  monkeypatch.setattr(time, 'sleep', interrupt)
  with pytest.raises(interrupts.Interrupted, match='9 of 9 runs are left'):
    grids.sweep(root)
  assert 'Not complete' in page(root)
  assert (root / sweep_files.PLOT).exists()
  assert grids.sweep(root)
