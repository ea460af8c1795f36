"""Runs that are trained from Python are those of the command."""

import gin
import pytest

import moe_lite
from moe_lite.core.errors import UserError
from moe_lite.process import cli
from moe_lite.training.divergence import Diverged
from tests import tiny_run
from tests.paths import TINY_GIN

FILES = [str(TINY_GIN), 'methods/mov.gin', 'runs/finetune.gin']


@pytest.fixture
def macros(tmp_path, monkeypatch):
  """What every run is given; they train everything, from random values."""
  monkeypatch.chdir(tmp_path)
  yield {
    'INITIAL_CHECKPOINT_PATH': None,
    'TRAINABLE': '.*',
    'NUM_EXPERTS': 2,
    'BATCH_SIZE': 4,
    'LOG_PERIOD': 1,
  }
  gin.clear_config()


@pytest.mark.slow
def test_runs_in_one_process_are_those_of_commands(macros, capsys):
  first = moe_lite.finetune(FILES, MODEL_DIR='one', TRAIN_STEPS=2, **macros)
  assert first.folder == 'one' and first.validation == []
  assert [row['step'] for row in first.metrics] == [1, 2]
  assert "Run('one')\n  last metrics: step 2, " in repr(first)
  # Nothing of the first call is left in the second.
  other = {**macros, 'NUM_EXPERTS': 3, 'SEED': 1}
  second = moe_lite.finetune(FILES, MODEL_DIR='two', TRAIN_STEPS=1, **other)
  assert second.metrics[0]['loss'] != first.metrics[0]['loss']
  flags = [f'--gin.{name}={value!r}' for name, value in macros.items()]
  argv = [
    'train',
    *(f'--gin_file={file}' for file in FILES),
    *flags,
    "--gin.MODEL_DIR='three'",
    '--gin.TRAIN_STEPS=2',
  ]
  assert cli.main('training.train', 'runs/finetune.gin', argv) == 0
  capsys.readouterr()
  third = moe_lite.finetune(FILES, MODEL_DIR='three', TRAIN_STEPS=2, **macros)
  assert 'nothing is left to do' in capsys.readouterr().err
  losses = lambda run: [row['loss'] for row in run.metrics]
  assert losses(third) == losses(first)


def test_mistakes_are_raised(macros):
  refuse = lambda message: pytest.raises(UserError, match=message)
  with refuse("gin_files = 'a.gin' must be a list"):
    moe_lite.finetune('a.gin')
  with refuse("NUM_EXPRTS.*Did you mean 'NUM_EXPERTS'"):
    moe_lite.finetune(FILES, MODEL_DIR='x', NUM_EXPRTS=3)
  with refuse('MODEL_DIR is required'):
    moe_lite.finetune(FILES, **macros)
  with refuse('TRAIN_STEPS = -1') as error:
    moe_lite.finetune(FILES, MODEL_DIR='x', TRAIN_STEPS=-1, **macros)
  assert 'In call to configurable' not in str(error.value)
  with refuse('@optimizers.adamm'):
    moe_lite.finetune(
      FILES, MODEL_DIR='x', OPTIMIZER='@optimizers.adamm', **macros
    )


def test_a_run_that_diverges_says_so(macros):
  with pytest.raises(Diverged) as error:
    moe_lite.finetune(
      FILES,
      MODEL_DIR='x',
      TRAIN_STEPS=20,
      OPTIMIZER='@optimizers.adamw',
      LEARNING_RATE=1e30,
      **macros,
    )
  assert type(error.value) is Diverged
  assert 'In call to configurable' not in str(error.value)


def test_an_evaluation_returns_its_results(macros, tmp_path):
  tiny_run.add_suite()
  run = moe_lite.finetune(FILES, MODEL_DIR='run', TRAIN_STEPS=1, **macros)
  found = moe_lite.evaluate(
    [f'{run.folder}/config.gin', 'runs/eval.gin'],
    CHECKPOINT_PATH=run.folder,
    EVAL_OUTPUT_DIR='run/eval',
    MIXTURE_OR_TASK_NAME='tiny_score_eval',
    TASK_FEATURE_LENGTHS={'inputs': 16, 'targets': 8},
    INITIAL_CHECKPOINT_PATH='none',
  )
  assert found.complete and len(found.tasks) == 5
