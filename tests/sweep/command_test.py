"""The command: mistakes, exit codes, printed commands, changed grids."""

import json
import pathlib
import re
import shlex

import gin
import pytest

from moe_lite.sweep import command
from tests.sweep.grids import MINE


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text(MINE)
  yield
  gin.clear_config()


def run(capsys, *arguments):
  code = command.main(['sweep', *arguments])
  return code, capsys.readouterr()


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


def test_a_grid_may_have_the_name_it_had_before(capsys, monkeypatch):
  given = []
  fake = lambda *arguments: not given.append(arguments)
  monkeypatch.setattr('moe_lite.sweep.sweeping.sweep', fake)
  pathlib.Path('old.gin').write_text(
    'from __gin__ import dynamic_registration\n'
    'from moe_lite import sweeps\n'
    "sweeps.Grid.model = ['models/t5_1_1_mini.gin']\n"
    "sweeps.Grid.axes = {'method': {'IA3': 'methods/ia3.gin'}}\n"
    "sweeps.Grid.train = ['data/mini.gin', 'runs/finetune.gin']\n"
    "sweeps.Grid.evaluate = ['data/mini_eval.gin', 'runs/eval.gin']\n"
  )
  code, printed = run(capsys, 'old.gin')
  assert code == 0, printed.err
  assert given[0][0].axes == {'method': {'IA3': 'methods/ia3.gin'}}


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
  # A single rate is not searched: 3 seeds of 2 methods, and the frozen base.
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
