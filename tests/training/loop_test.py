"""Runs: what they leave, and that stopping one changes nothing."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import runs
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from moe_lite.process import interrupts
from moe_lite.training import loop, optimizers
from tests import tiny, tiny_training
from tests.paths import ROOT

STEPS = 8


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return tiny.save_base(tmp_path_factory.mktemp('bases') / 'tiny')


def make_model(**arguments):
  sites = {'intermediate': adapters.MoV}
  return tiny.model(
    sites, loss_normalizing_factor='AVERAGE_PER_SEQUENCE', **arguments
  )


def train(folder, base, train_steps=STEPS, model=None, **changes):
  options = {'save_period': 3, **changes}
  tiny_training.train(
    folder, base, model or make_model(), train_steps, **options
  )


@pytest.fixture(scope='module')
def whole(base, tmp_path_factory):
  """A run that was never interrupted."""
  folder = tmp_path_factory.mktemp('runs') / 'whole'
  train(folder, base)
  return folder


def everything(folder, step=None):
  """All bytes of what a run trained."""
  tree, description = runs.restore_trainable(str(folder), step)
  return {p: x.tobytes() for p, x in parameters.flatten(tree).items()}, (
    description
  )


def rows(folder):
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def untimed(folder):
  """The lines of metrics without what was measured by the clock."""
  return [
    {name: x for name, x in row.items() if 'second' not in name}
    for row in rows(folder)
  ]


def test_a_run_leaves_what_its_readme_names(whole, base):
  names = {path.name for path in whole.iterdir()}
  assert {
    'checkpoints',
    'config.gin',
    'loss.png',
    'metrics.jsonl',
    'run.json',
  } < names
  assert any(name.startswith('events.') for name in names)
  assert (whole / 'loss.png').read_bytes().startswith(b'\x89PNG')
  run = json.loads((whole / 'run.json').read_text())
  assert run['base']['source'] == base and run['seed'] == 0
  assert run['step_bytes'] > 4 * run['trainable_parameters']
  assert run['trainable_parameters'] == parameters.count(
    runs.restore_trainable(str(whole))[0]
  )
  assert {'command', 'packages', 'device_kind', 'base_parameters'} < set(run)
  steps = sorted(int(p.name) for p in (whole / 'checkpoints').iterdir())
  assert steps == [3, 6, 8]


def test_metrics_are_those_of_the_steps(whole):
  metrics = rows(whole)
  assert [row['step'] for row in metrics] == [2, 4, 6, 8]
  for row in metrics:
    assert row['learning_rate'] == pytest.approx(0.02)
    assert 0 < row['nonpadding_fraction'] <= 1
    assert row['loss'] > row['z_loss'] > 0
    assert min(row['grad_norm'], row['update_norm']) > 0
    assert min(row['tokens_per_second'], row['seconds_per_step']) > 0
    assert 0 <= row['accuracy'] <= 1
  assert metrics[-1]['loss'] < metrics[0]['loss']


def test_a_finished_run_says_so_and_stays(whole, base, capsys):
  before = {p: p.stat().st_mtime_ns for p in whole.rglob('*')}
  train(whole, base)
  assert 'all 8 steps are done' in capsys.readouterr().err
  after = {p: p.stat().st_mtime_ns for p in whole.rglob('*') if p in before}
  assert after == before


KILLED = """
import os, signal, time
from moe_lite.training import train_step
from tests.training import loop_test
compile_step = train_step.compile_step
def compile_and_die(*arguments):
  step, calls = compile_step(*arguments), []
  def call(*arguments):
    calls.append(0)
    if len(calls) > 5:
      while not os.path.exists({checkpoint!r}):
        time.sleep(0.01)
      os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)
  call.memory_analysis = step.memory_analysis
  return call
train_step.compile_step = compile_and_die
loop_test.train(*{arguments})
"""


@pytest.mark.slow
def test_a_killed_run_ends_as_one_never_interrupted(whole, base, tmp_path):
  """`kill -9` after five steps; the checkpoint is that of step three."""
  folder = tmp_path / 'run'
  script = KILLED.format(
    arguments=(str(folder), base), checkpoint=str(folder / 'checkpoints' / '3')
  )
  process = subprocess.run(
    [sys.executable, '-c', script],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert process.returncode == -signal.SIGKILL, process.stderr
  assert everything(folder)[1].step == 3
  assert [row['step'] for row in rows(folder)] == [2, 4]
  with (folder / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 5, "lo')  # A line cut off.
  train(folder, base)
  for step in (6, 8):
    assert everything(folder, step)[0] == everything(whole, step)[0]
  assert untimed(folder) == untimed(whole)


def test_ctrl_c_saves_and_resuming_changes_nothing(
  whole, base, tmp_path, monkeypatch
):
  folder = tmp_path / 'run'
  compile_step = loop.train_step.compile_step

  def compile_and_interrupt(*arguments):
    step, calls = compile_step(*arguments), []

    def call(*arguments):
      calls.append(0)
      if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGINT)
      return step(*arguments)

    call.memory_analysis = step.memory_analysis
    return call

  with monkeypatch.context() as patch:
    patch.setattr(loop.train_step, 'compile_step', compile_and_interrupt)
    with pytest.raises(interrupts.Interrupted, match='step 5 of 8') as error:
      train(folder, base)
  assert error.value.exit_code == 130
  assert everything(folder)[1].step == 5
  train(folder, base)
  assert everything(folder)[0] == everything(whole)[0]
  assert untimed(folder) == untimed(whole)


def flip_a_bit(path):
  contents = bytearray(path.read_bytes())
  contents[len(contents) // 2] ^= 8
  path.write_bytes(contents)


def largest_file(folder):
  files = [path for path in folder.rglob('*') if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
  'item',
  [
    'trainable',
    pytest.param('optimizer', marks=pytest.mark.slow),
    pytest.param('description', marks=pytest.mark.slow),
  ],
)
def test_a_damaged_checkpoint_is_set_aside(whole, base, tmp_path, capsys, item):
  folder = tmp_path / 'run'
  shutil.copytree(whole, folder)
  shutil.rmtree(folder / 'checkpoints' / '8')
  flip_a_bit(largest_file(folder / 'checkpoints' / '6' / item))
  train(folder, base)
  said = capsys.readouterr().err
  assert f'{item} of' in said or 'The checkpoint at step 6' in said
  assert f'{folder}/damaged/6' in said and 'goes on from step 3' in said
  assert (folder / 'damaged' / '6' / item).is_dir()
  assert everything(folder)[0] == everything(whole)[0]
  assert untimed(folder) == untimed(whole)


def test_a_damaged_position_is_read_past(whole, base, tmp_path, capsys):
  folder = tmp_path / 'run'
  shutil.copytree(whole, folder)
  shutil.rmtree(folder / 'checkpoints' / '8')
  flip_a_bit(largest_file(folder / 'checkpoints' / '6' / 'data'))
  train(folder, base)
  assert 'position in the data cannot be used' in capsys.readouterr().err
  assert everything(folder)[0] == everything(whole)[0]


@pytest.mark.slow
def test_a_run_moves_to_the_scan_form(whole, base, tmp_path):
  """The checkpoint is the same; only rounding differs after it."""
  folder = tmp_path / 'run'
  shutil.copytree(whole, folder)
  shutil.rmtree(folder / 'checkpoints' / '8')
  train(folder, base, model=make_model(scan_layers=True))
  moved, _ = runs.restore_trainable(str(folder))
  expected, _ = runs.restore_trainable(str(whole))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    moved,
    expected,
  )


@pytest.mark.slow
def test_pretraining_begins_from_nothing_and_becomes_a_base(tmp_path):
  folder = tmp_path / 'run'
  model = tiny.model({})
  train(folder, None, 4, model, trainable='.*')
  train(tmp_path / 'next', str(folder), 2)
  assert everything(tmp_path / 'next')[1].base.source == str(folder)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'model': tiny.model({'key': adapters.MoV})},
      'ADAPTERS at intermediate: MoV.*nothing now',
    ),
    (
      {
        'model': tiny.model(
          {'intermediate': functools.partial(adapters.MoV, num_experts=3)}
        )
      },
      r'intermediate: MoV\(num_experts=10.* MoV\(num_experts=3.* now',
    ),
    ({'trainable': '.*mlp/.*_adapter/.*'}, 'TRAINABLE: '),
    ({'optimizer': optimizers.adamw}, 'is of another OPTIMIZER'),
  ],
  ids=['sites', 'experts', 'trainable', 'optimizer'],
)
def test_another_method_does_not_resume(whole, base, changes, message):
  before = everything(whole)[0]
  with pytest.raises(UserError, match=message):
    train(whole, base, train_steps=20, **changes)
  assert everything(whole)[0] == before


def test_another_base_does_not_resume(whole, base, tmp_path):
  other = tiny.save_base(tmp_path / 'other', seed=1)
  with pytest.raises(UserError, match='stands on another base') as error:
    train(whole, other, train_steps=20)
  for folder in (base, other):
    assert folder in str(error.value)
  assert str(error.value).count('fingerprint') == 2


@pytest.mark.slow
def test_other_data_go_on_from_their_beginning(whole, base, tmp_path, capsys):
  folder = tmp_path / 'run'
  train(folder, base, train_steps=2)
  tasks = dataset.Dataset(
    'tiny_other', {'inputs': 32, 'targets': 16}, batch_size=4
  )
  for changes in ({'dataset': tasks}, {'schedule': optimizers.constant(0.03)}):
    with pytest.raises(UserError, match='is now .*ALLOW_CHANGES=True'):
      train(folder, base, train_steps=4, **changes)
  train(folder, base, train_steps=4, dataset=tasks, allow_changes=True)
  assert "'tiny_task' is now 'tiny_other'" in capsys.readouterr().err
  # Two of four steps read the new data, and a third call reads on from there.
  _, description = everything(folder)
  assert (description.step, description.batches) == (4, 2)


def test_what_is_no_checkpoint_is_not_skipped_silently(base, tmp_path):
  folder = tmp_path / 'run'
  (folder / 'checkpoints' / '5').mkdir(parents=True)
  with pytest.raises(UserError, match='is not a whole checkpoint of this run'):
    train(folder, base, train_steps=4)


def test_routers_are_looked_after(tmp_path, base, capsys):
  model = make_model(load_balance=0.1, routing_metrics=True)
  train(tmp_path, base, 2, model, microbatches=2)
  (line,) = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  scalars = json.loads(line)
  assert 0.9 < scalars['load_balance'] < 2
  assert 0 < scalars['routing_entropy'] <= np.log(10) + 1e-3
  (line,) = (tmp_path / 'routing.jsonl').read_text().splitlines()
  routers = json.loads(line)['routers']
  assert len(routers) == 3
  first = routers['encoder/layers_0/mlp/intermediate']
  assert sum(first['share']) == pytest.approx(1, abs=1e-3)
