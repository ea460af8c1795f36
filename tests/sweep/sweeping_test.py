"""The command: shipped grids, mistakes, changed grids, printed commands."""

import json
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time

import gin
import pytest

from moe_lite.process import cli
from moe_lite.sweep import checking, command, expansion, sweep_files
from moe_lite.sweep.rows import equal_parameters
from tests.paths import ROOT
from tests.sweep.swept import row

ABLATIONS = sorted(p.stem for p in (ROOT / 'gin/ablations').glob('*.gin'))
MINE = """
from __gin__ import dynamic_registration
include 'suites/mini.gin'
AXES = {'method': {'IA3': 'methods/ia3.gin', 'LoRA': 'methods/lora.gin'}}
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text(MINE)
  yield
  gin.clear_config()


def run(capsys, *arguments):
  code = command.main(['sweep', *arguments])
  return code, capsys.readouterr()


def check(name, suite='mini', count=False):
  """The plan of a shipped grid, and what its configurations say."""
  files = [f'--gin_file=ablations/{name}.gin']
  if suite == 'p3':
    model = "['models/t5_1_1_small.gin', {'INITIAL_CHECKPOINT_PATH': 'x'}]"
    files += ['--gin_file=suites/p3.gin', f'--gin.MODEL={model}']
  grid = cli.configure(['sweep', *files], 'sweep.Grid', 'x')()
  plan = expansion.expand(grid, 'runs/x')
  return plan, checking.check(plan, count)


@pytest.mark.parametrize(
  'name, suite', [*((name, 'mini') for name in ABLATIONS), ('routers', 'p3')]
)
def test_every_configuration_of_every_grid_is_built(name, suite):
  plan, checked = check(name, suite)
  settings = [s for found in plan.settings.values() for s in found]
  assert len({setting.name for setting in settings}) == len(settings)
  trained = {s.name for s in settings if s.variant.is_trained}
  assert checked.train_steps.keys() == trained


@pytest.mark.slow
@pytest.mark.parametrize('name', ABLATIONS)
def test_every_variant_of_every_grid_has_its_shapes(name):
  plan, checked = check(name, count=True)
  assert checked.counts.keys() == plan.settings.keys()
  assert checked.counts['frozen base'] == (0, 1_115_904)


def test_the_comparison_has_methods_of_equal_parameters():
  plan, checked = check('methods', count=True)
  assert len(plan.settings['MoV-10'][0].runs) >= 5
  rows = [
    row(name, trained, [1.0]) for name, (trained, _) in checked.counts.items()
  ]
  groups = equal_parameters(rows)
  assert [sorted(row.variant for row in group) for group in groups] == [
    ['LoRA rank 4', 'MoLoRA-3 rank 1', 'MoV-10'],
    ['LoRA rank 13', 'MoLoRA-2 rank 6', 'MoV-30'],
  ]


MISTAKES = {
  'no file': ([], 'Give the gin file of a grid'),
  'no such file': (['mien.gin'], 'mien.gin'),
  'no grid': (['methods/mov.gin'], 'configures sweep.Grid'),
  'no axes': (['suites/mini.gin'], 'AXES is required'),
  'a macro of the grid': (
    ['mine.gin', '--gin.SEDES=[1]'],
    "Did you mean 'SEEDS'",
  ),
  'a macro of the runs': (
    ['mine.gin', "--gin.TRAIN_BINDINGS={'RNAK': 3}"],
    "IA3, LEARNING_RATE=0.03: --gin.RNAK: none .* has a macro 'RNAK'",
  ),
  'a value': (
    ['mine.gin', "--gin.AXES={'a': {'b': ['methods/lora.gin', {'RANK': 0}]}}"],
    'b, LEARNING_RATE=0.03: RANK = 0',
  ),
  'data': (
    ['mine.gin', '--gin.EVAL_DATA="data/mimi.gin"'],
    "Did you mean 'data/mini.gin'",
  ),
  'a mixture': (
    ['mine.gin', "--gin.EVAL_BINDINGS={'MIXTURE_OR_TASK_NAME': 'mini'}"],
    "'mini' is not among",
  ),
  'jobs': (['mine.gin', '--jobs=0'], '--jobs=0 must be at least 1'),
  'an unknown flag': (['mine.gin', '--job=2'], 'job'),
  'a bucket': (['mine.gin', '--to=gs://x/y'], 'name a folder of this machine'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_ends_with_code_2_before_anything_starts(mistake, capsys):
  arguments, message = MISTAKES[mistake]
  code, printed = run(capsys, *arguments)
  assert code == 2, printed.err
  assert re.search(message, printed.err), printed.err
  assert not pathlib.Path('runs').exists()


def test_a_failed_run_ends_with_code_1(capsys, monkeypatch):
  given = []
  # Whether nothing failed.
  fake = lambda *arguments: bool(given.append(arguments))
  monkeypatch.setattr('moe_lite.sweep.sweeping.sweep', fake)
  code, _ = run(
    capsys,
    *('mine.gin', 'suites/mini.gin', '--gin.AXES={}', '--jobs=3'),
    '--gin_search_paths=.',
  )
  ((grid, root, flags, jobs, prints),) = given
  assert code == 1 and grid.axes == {} and root == 'runs/sweeps/mine_mini'
  assert (flags, jobs, prints) == (['--gin_search_paths=.'], 3, False)


def test_commands_are_printed_and_a_changed_grid_is_refused(capsys):
  code, printed = run(capsys, 'mine.gin', '--print')
  assert code == 0, printed.err
  lines = printed.out.splitlines()  # For a shell, hence nothing else.
  # A single rate is no search: 3 seeds of 2 methods, and the frozen base.
  assert len(lines) == 7 and '7 runs are missing' in printed.err
  words = shlex.split(lines[1])
  assert words[:3] == ['python', '-m', 'moe_lite.train'] and '&&' in words
  root = pathlib.Path('runs/sweeps/mine')
  recorded = json.loads((root / 'grid.json').read_text())['runs']
  (first, *_), last = recorded, 'LoRA/LEARNING_RATE=0.03/seed_2'
  assert first == 'frozen_base'
  commands = recorded[last]
  assert lines[-1] == f'{commands["train"]} && {commands["eval"]}'

  # Nothing has begun.
  changed = ['mine.gin', '--print', '--gin.TRAIN_STEPS=7']
  assert run(capsys, *changed)[0] == 0
  assert run(capsys, 'mine.gin', '--print')[0] == 0
  (root / last).mkdir(parents=True)
  code, printed = run(capsys, *changed)
  assert code == 2
  for text in ('another grid', '- TRAIN_STEPS = 600', '+ TRAIN_STEPS = 7'):
    assert text in printed.err
  code, printed = run(capsys, 'mine.gin', '--print', '--gin.SEEDS=[0]')
  assert code == 2 and f'such as {last}' in printed.err
  rates = '--gin.LEARNING_RATES=[0.03, 0.1]'
  code, printed = run(capsys, 'mine.gin', '--print', rates)
  assert code == 0 and '4 runs of the search are missing' in printed.err


ONE_TASK = "{'MIXTURE_OR_TASK_NAME': 'mini_who_blank_score_eval'}"
QUICK = [
  'mine.gin',
  "--gin.AXES={'method': {'IA3': 'methods/ia3.gin'}}",
  '--gin.LEARNING_RATES=[0.1, 0.3]',
  '--gin.SEEDS=[0, 1]',
  '--gin.TRAIN_STEPS=6',
  '--gin.BATCH_SIZE=4',
  "--gin.TRAIN_BINDINGS={'SAVE_PERIOD': 2, 'LOG_PERIOD': 2}",
  f'--gin.EVAL_BINDINGS={ONE_TASK}',
]


def start(*arguments):
  return subprocess.Popen(
    [sys.executable, '-m', 'moe_lite.sweep', *QUICK, *arguments],
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  )


def table(folder):
  """What does not depend on how fast the machine is."""
  swept = json.loads(pathlib.Path(folder, sweep_files.JSON).read_text())
  page = pathlib.Path(folder, sweep_files.MARKDOWN).read_text()
  prints = [run['trainable_fingerprint'] for run in swept['runs']]
  averages = [row['average'] for row in swept['rows']]
  return page.partition('## Time')[0], prints, averages


@pytest.mark.slow
def test_killed_twice_real_runs_end_with_the_same_table():
  assert start('--to=whole').wait(1200) == 0
  draw = random.Random()
  for number in (signal.SIGKILL, signal.SIGTERM):
    process = start('--to=name/whole')
    wanted = draw.uniform(30, 60)
    print(f'{number.name} after {wanted:.0f} s')
    time.sleep(wanted)
    process.send_signal(number)
    assert process.wait(120) == {9: -9, 15: 143}[number]
  assert start('--to=name/whole').wait(1200) == 0
  assert table('name/whole') == table('whole')
