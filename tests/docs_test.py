"""The commands of pages run as printed, on the mini model."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from moe_lite.checkpoints import exported, library, safetensors_files
from tests.paths import ROOT

BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHELL, PYTHON = '', 'python'


def script(text, languages=(SHELL,)):
  """The blocks of a page in these languages, as one script of a shell."""
  forms = {SHELL: '{}', PYTHON: "python - <<'END'\n{}END\n"}
  return '\n'.join(
    forms[language].format(code)
    for language, code in BLOCK.findall(text)
    if language in languages
  )


def run(text, folder):
  """Runs a script in a folder; returns what it wrote."""
  path = os.pathsep.join((os.path.dirname(sys.executable), os.environ['PATH']))
  done = subprocess.run(
    ('bash', '-euc', text),
    cwd=folder,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PATH': path},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done


@pytest.mark.slow
def test_the_chain_of_stages_runs_as_printed(tmp_path):
  text = (ROOT / 'docs/stages.md').read_text()
  # The last section compares rates, which takes long.
  commands = script(text[: text.index('## A rate')])
  assert commands.count('moe_lite.train') == 4
  done = run(commands, tmp_path)
  assert 'stage 1: IA3, 100 steps, on mini_train' in done.stdout
  assert 'stage 2: MoV, 100 steps, on mini_train' in done.stdout
  assert 'IA3 as MoV' in done.stderr
  lines = (tmp_path / 'runs/validated/validation.jsonl').read_text()
  steps = [json.loads(line)['step'] for line in lines.splitlines()]
  assert steps == [0, 25, 50, 75, 100]


@pytest.mark.slow
def test_a_base_becomes_a_served_expert_as_printed(tmp_path):
  commands = script((ROOT / 'docs/library.md').read_text(), (SHELL, PYTHON))
  assert commands.count('moe_lite.library') == 8
  assert commands.count('moe_lite.load') == 1
  run(commands, tmp_path)
  experts = library.index(str(tmp_path / 'experts'))
  assert len(experts) == 14
  assert experts['mini_news']['source'] == 'runs/news'
  assert experts['mini_kinds']['source'] == 'runs/experts'
  said = json.loads((tmp_path / 'eval/arrow/results.json').read_text())
  assert said['checkpoint']['checkpoint'] == 'arrow'
  # The stage of the gates moves no expert, and each of them has a gate.
  for name in experts:
    before, after = (
      safetensors_files.read(
        tmp_path / folder / 'experts' / name / exported.WEIGHTS
      )
      for folder in ('experts', 'gated')
    )
    for path, leaf in before.items():
      np.testing.assert_array_equal(after.pop(path), leaf[None])
    assert {path.split('/')[-1] for path in after} == {'gates'}
    assert all(np.abs(gate).max() > 0 for gate in after.values())
  for name in ('merged', 'mini_news'):
    config = tmp_path / 'peft' / name / 'adapter_config.json'
    assert json.loads(config.read_text())['peft_type'] == 'LORA'


@pytest.mark.slow
def test_what_an_author_writes_runs_as_printed(tmp_path):
  page = (ROOT / 'docs/authoring.md').read_text()
  commands = script(page, (SHELL, PYTHON))
  assert commands.count('moe_lite.t5.contract') == 3
  assert commands.count('moe_lite.train') == 4
  done = run(commands, tmp_path)
  assert done.stdout.count('promises are kept.') == 3
  (wanted,) = re.findall('^```text\n(Shift at.*?)^```', page, re.M | re.S)
  assert wanted in done.stdout
  for name in ('shift', 'bottleneck', 'sharp', 'capitals'):
    lines = (tmp_path / 'runs' / name / 'metrics.jsonl').read_text()
    assert np.isfinite(json.loads(lines.splitlines()[-1])['loss'])
  for name in ('shift', 'capitals'):
    assert (tmp_path / 'runs' / name / 'eval' / 'results.json').exists()
