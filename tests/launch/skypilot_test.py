"""launch/skypilot: a managed spot job."""

import shlex

import yaml  # Of flax.

from tests.launch.cloud import LAUNCH, check_gin_files
from tests.paths import ROOT


def test_skypilot_runs_a_managed_spot_job():
  task = yaml.safe_load((LAUNCH / 'skypilot' / 'moe_lite.yaml').read_text())
  resources = task['resources']
  assert resources['accelerators'] == 'tpu-v5litepod-16'
  assert resources['accelerator_args'] == {
    'runtime_version': 'v2-alpha-tpuv5-lite'
  }
  assert resources['use_spot'] is True and task['workdir'] == '.'
  assert (ROOT / task['setup'].split()[1]).exists()
  words = shlex.split(task['run'].replace('$MODEL_DIR', 'gs://b/run'))
  assert words[2:5] == ['-m', 'moe_lite.train', '--multi_host']
  assert words[-1] == "--gin.MODEL_DIR='gs://b/run'"
  check_gin_files(task['run'])
