"""The commands of docs/stages.md run as printed, on the mini model."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.paths import ROOT

PAGE = ROOT / 'docs' / 'stages.md'


@pytest.mark.slow
def test_the_chain_of_stages_runs_as_printed(tmp_path):
  text = PAGE.read_text()
  # The last section compares rates, which takes long.
  blocks = re.findall(r'```\n(.*?)```', text[: text.index('## A rate')], re.S)
  assert len(blocks) == 2
  path = os.pathsep.join((os.path.dirname(sys.executable), os.environ['PATH']))
  done = subprocess.run(
    ('bash', '-euc', '\n'.join(blocks)),
    cwd=tmp_path,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PATH': path},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'stage 1: IA3, 100 steps, on mini_train' in done.stdout
  assert 'stage 2: MoV, 100 steps, on mini_train' in done.stdout
  assert 'IA3 as MoV' in done.stderr
  lines = (tmp_path / 'runs/validated/validation.jsonl').read_text()
  steps = [json.loads(line)['step'] for line in lines.splitlines()]
  assert steps == [0, 25, 50, 75, 100]
