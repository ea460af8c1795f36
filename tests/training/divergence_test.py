"""A run that diverges stops, and what is saved of it stays finite."""

import json
import pathlib

import gin
import jax
import numpy as np
import pytest

from moe_lite.checkpoints import runs
from moe_lite.process import cli
from moe_lite.training.divergence import Diverged
from tests import tiny
from tests.paths import TINY_GIN
from tests.training import loop_test

ENTRIES = {'finetune': 'training.train', 'infer': 'inference.infer'}


def steps(folder):
  return sorted(int(path.name) for path in (folder / 'checkpoints').iterdir())


def soon(step):
  """A rate that is too high from a step on."""
  return np.float32(0.01) + 1e30 * (step >= 3)


@pytest.mark.parametrize('log_period, save_period', [(5, 1), (1, 5)])
def test_it_stops_and_keeps_what_is_finite(tmp_path, log_period, save_period):
  folder = tmp_path / 'run'
  with pytest.raises(Diverged) as error:
    loop_test.train(
      folder,
      tiny.save_base(tmp_path / 'base'),
      train_steps=10,
      schedule=soon,
      log_period=log_period,
      save_period=save_period,
      keep=2,
    )
  said = str(error.value)
  assert error.value.exit_code == 4
  assert 'step 4 of 10' in said or 'step 5 of 10' in said
  assert 'learning rate 1e+30' in said
  for word in ('LEARNING_RATE', 'WARMUP_STEPS', "ACTIVATION_DTYPE = 'float32'"):
    assert word in said
  lines = loop_test.rows(folder) if log_period == 1 else []
  assert all(np.isfinite(x) for line in lines for x in line.values())
  if save_period > 1:
    assert 'Step 0 is saved' in said and steps(folder) == [0]
    return
  assert f'Step {steps(folder)[-1]} is the last one that is saved' in said
  assert steps(folder)[-1] >= 3
  for step in steps(folder):
    tree, _ = runs.restore_trainable(str(folder), step)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(tree))


@pytest.mark.slow
def test_from_step_0_with_another_rate_it_goes_as_a_new_run_does(tmp_path):
  folder, base = tmp_path / 'run', tiny.save_base(tmp_path / 'base')
  with pytest.raises(Diverged):
    loop_test.train(folder, base, train_steps=9, schedule=soon, save_period=9)
  options = {'train_steps': 3, 'log_period': 1, 'save_period': 1}
  loop_test.train(folder, base, **options)
  other = tmp_path / 'other'
  loop_test.train(other, base, **options)
  assert loop_test.untimed(folder) == loop_test.untimed(other)


@pytest.mark.slow
def test_the_command_ends_with_code_4_and_what_it_saved_is_used(
  tmp_path, capsys
):
  base, run = tiny.save_base(tmp_path / 'base'), str(tmp_path / 'run')

  def command(name, *flags):
    file = f'runs/{name}.gin'
    argv = [
      name,
      *(f'--gin_file={TINY_GIN}', '--gin_file=methods/mov.gin'),
      *(f'--gin_file={file}', '--gin.BATCH_SIZE=4', '--gin.NUM_EXPERTS=2'),
      f'--gin.INITIAL_CHECKPOINT_PATH={base!r}',
      *flags,
    ]
    try:
      return cli.main(ENTRIES[name], file, argv)
    finally:
      gin.clear_config()

  train = (
    f'--gin.MODEL_DIR={run!r}',
    '--gin.SAVE_PERIOD=1',
    '--gin.LOG_PERIOD=1',
  )
  assert command('finetune', *train, '--gin.TRAIN_STEPS=2') == 0
  capsys.readouterr()
  more = (
    *('--gin.TRAIN_STEPS=9', '--gin.LEARNING_RATE=1e30'),
    '--gin.ALLOW_CHANGES=True',
  )
  assert command('finetune', *train, *more) == 4
  errors = capsys.readouterr().err.splitlines()
  (message,) = [line for line in errors if line.startswith('error:')]
  assert 'step 3 of 9 is not finite' in message and 'Step 2 is' in message
  lines = pathlib.Path(run, 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [1, 2]
  infer = (f'--gin.CHECKPOINT_PATH={run!r}', f'--gin.INFER_OUTPUT_DIR={run!r}')
  task = "--gin.MIXTURE_OR_TASK_NAME='tiny_task'"
  assert command('infer', *infer, task) == 0, capsys.readouterr().err
