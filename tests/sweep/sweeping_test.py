"""Which runs come when, and real runs that are killed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from moe_lite.sweep import sweep_files, sweeping
from moe_lite.sweep.expansion import expand
from tests.evaluation import outcomes
from tests.evaluation.outcomes import task
from tests.paths import ROOT
from tests.sweep import grids


@pytest.fixture
def plan(tmp_path):
  return expand(grids.grid(), str(tmp_path / 'x'))


def names(jobs):
  return [job.run.name for job in jobs]


def steps(plan):
  found = [s.name for settings in plan.settings.values() for s in settings]
  return {name: i for i, name in enumerate(found)}


def evaluate(command, value):
  tasks = [task('who', value, task='who_0')]
  outcomes.write(pathlib.Path(command.output), outcomes.evaluation(tasks))


def test_the_search_takes_the_first_seed_of_every_choice(plan):
  jobs = sweeping.search_jobs(plan, steps(plan))
  assert names(jobs) == [
    f'{method}, LEARNING_RATE={rate}, seed 0'
    for method in ('IA3', 'MoV')
    for rate in (0.1, 0.3)
  ]
  assert [job.train_steps for job in jobs] == [1, 2, 3, 4]
  kinds = [command.kind for command in jobs[0].commands]
  assert kinds == ['train', 'validation']


def test_final_runs_follow_once_a_choice_is_known_seed_by_seed(plan):
  # Without a search, as the frozen base, there is nothing to wait for.
  (frozen,) = sweeping.final_jobs(plan, steps(plan))
  assert frozen.run.name == 'frozen base'
  assert [command.kind for command in frozen.commands] == ['eval']
  for method, values in (('IA3', (50.0, 60.0)), ('MoV', (60.0, 50.0))):
    for setting, value in zip(plan.settings[method], values, strict=True):
      evaluate(setting.runs[0].validation, value)
  assert names(sweeping.final_jobs(plan, steps(plan))) == [
    'frozen base',
    'IA3, LEARNING_RATE=0.3, seed 0',
    'MoV, LEARNING_RATE=0.1, seed 0',
    'IA3, LEARNING_RATE=0.3, seed 1',
    'MoV, LEARNING_RATE=0.1, seed 1',
  ]


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
def test_killed_twice_real_runs_end_with_the_same_table(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text(grids.MINE)
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
