"""The task that tasks/README.md shows works as it is printed."""

import json
import re

import numpy as np
import pytest

from moe_lite.evaluation import results
from moe_lite.process import cli
from tests.paths import ROOT

README = ROOT / 'tasks' / 'README.md'

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


def test_a_task_of_one_s_own(tmp_path, monkeypatch):
  text = README.read_text().partition('## Add a task')[2]
  blocks = re.findall(r'```(?:python)?\n(.*?)```', text, re.S)
  module, data, jsonl, csv = blocks[:4]
  files = {
    'my_tasks.py': module,
    'my_data.gin': data,
    'capitals.jsonl': jsonl,
    'capitals.csv': csv,
  }
  for name, content in files.items():
    assert name in text
    (tmp_path / name).write_text(content)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))

  def run(entry, run_file, *flags):
    files = ('models/t5_1_1_mini', 'methods/ia3', 'my_data', run_file)
    argv = ['command', *(f'--gin_file={name}.gin' for name in files), *flags]
    assert cli.main(entry, f'{run_file}.gin', argv) == 0

  run(
    'training.train',
    'runs/finetune',
    "--gin.MODEL_DIR='run'",
    *('--gin.TRAIN_STEPS=2', '--gin.BATCH_SIZE=2', '--gin.PACKING=False'),
  )
  (line,) = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  assert np.isfinite(json.loads(line)['loss'])

  run(
    'evaluation.evaluate',
    'runs/eval',
    "--gin.MIXTURE_OR_TASK_NAME='my_score_eval'",
    *("--gin.CHECKPOINT_PATH='run'", "--gin.EVAL_OUTPUT_DIR='eval'"),
  )
  outcome = json.loads((tmp_path / 'eval' / results.JSON).read_text())
  (dataset,) = outcome['datasets']
  assert dataset['dataset'] == 'my_capitals' and dataset['prompts'] == 2
  np.testing.assert_allclose(dataset['chance'], 100 / 3)
  assert (tmp_path / 'eval' / results.PLOT).stat().st_size > 1000
