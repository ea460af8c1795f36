"""The task that tasks/README.md shows works as it is printed."""

import json
import pathlib
import re

import numpy as np

from moe_lite import cli
from tests.gin_test import empty_config  # noqa: F401  a fixture

README = pathlib.Path(__file__).parents[2] / 'tasks' / 'README.md'


def test_a_task_of_one_s_own(tmp_path, monkeypatch):
  blocks = re.findall(
    r'```(?:python)?\n# (\S+)\n(.*?)```', README.read_text(), re.S
  )
  files = dict(blocks)
  assert files.keys() == {'my_tasks.py', 'my_data.gin'}
  for name, text in files.items():
    (tmp_path / name).write_text(text)
  rows = [
    {'split': split, 'inputs': 'city of france', 'targets': 'paris'}
    for split in ['train'] * 8 + ['validation']
  ]
  lines = ''.join(json.dumps(row) + '\n' for row in rows)
  (tmp_path / 'capitals.jsonl').write_text(lines)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  argv = [
    'train',
    *('models/t5_1_1_mini', 'methods/ia3', 'my_data', 'runs/finetune'),
  ]
  argv[1:] = [f'--gin_file={name}.gin' for name in argv[1:]]
  argv += [
    "--gin.MODEL_DIR='run'",
    *('--gin.TRAIN_STEPS=2', '--gin.BATCH_SIZE=2', '--gin.PACKING=False'),
  ]
  assert cli.main('training.train', 'runs/finetune.gin', argv) == 0
  (line,) = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  assert np.isfinite(json.loads(line)['loss'])
