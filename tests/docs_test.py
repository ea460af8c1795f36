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


def read(page):
  """The text of a page of docs/."""
  return (ROOT / 'docs' / page).read_text()


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
  text = read('how_to/stages.md')
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
def test_one_s_own_rows_become_an_exported_adapter_as_printed(tmp_path):
  page = ROOT / 'docs/tutorials/own_task.md'
  commands = script(page.read_text(), (SHELL, PYTHON))
  assert commands.count('moe_lite.train') == 2
  assert commands.count('moe_lite.eval') == 3
  done = run(commands, tmp_path)
  assert '-> money True' in done.stdout
  # What the page shows of the answer, and of the table.
  assert '\ntravel\n' in done.stdout
  base, trained = json.loads(
    (tmp_path / 'runs/desks/results.json').read_text()
  )['runs']
  assert (base['name'], trained['name']) == ('frozen base', 'MoV-4')
  assert trained['average']['median'] > 80 > 60 > base['average']['median']
  few = json.loads((tmp_path / 'runs/few/eval/results.json').read_text())
  assert few['datasets'][0]['median'] > 60
  assert (tmp_path / 'desk_adapter/README.md').exists()


@pytest.mark.slow
def test_a_base_becomes_a_served_expert_as_printed(tmp_path):
  text = read('tutorials/library.md')
  commands = script(text, (SHELL, PYTHON))
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
  page = read('authoring.md')
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


@pytest.mark.slow
def test_runs_are_composed_as_printed(tmp_path):
  done = run(script(read('how_to/compose.md')), tmp_path)
  said = json.loads((tmp_path / 'runs/top_2/eval/results.json').read_text())
  assert 'num_experts=5' in str(said['checkpoint']['method'])
  table = (tmp_path / 'runs/sweeps/rate/sweep.md').read_text()
  assert 'LEARNING_RATE=0.064' in table and 'mini_train_one' in table
  assert 'LEARNING_RATE is small' not in done.stderr


@pytest.mark.slow
def test_bases_and_adapters_are_converted_as_printed(tmp_path):
  done = run(
    script(read('how_to/bases_and_exports.md'), (SHELL, PYTHON)), tmp_path
  )
  assert 'before, ' in done.stdout + done.stderr
  for folder, kind in (('peft', 'IA3'), ('plain_peft', 'IA3')):
    config = json.loads((tmp_path / folder / 'adapter_config.json').read_text())
    assert config['peft_type'] == kind
  back, there = (
    safetensors_files.read(tmp_path / folder / exported.WEIGHTS)
    for folder in ('from_peft', 'peft')
  )
  assert sum(x.size for x in back.values()) == 2560
  assert sum(x.size for x in there.values()) == 2560


@pytest.mark.slow
def test_options_of_training_do_as_printed(tmp_path):
  done = run(script(read('how_to/train_options.md')), tmp_path)
  folder = tmp_path / 'runs/validated'
  lines = (folder / 'validation.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [0, 20, 40]
  assert 'The best accuracy of validation is' in done.stdout + done.stderr
  # The table of tags names what a run writes.
  tags = re.findall(r'^\| (`.*?) \|', read('how_to/train_options.md'), re.M)
  (line, *_) = (folder / 'metrics.jsonl').read_text().splitlines()
  for name in json.loads(line):
    assert name == 'step' or any(f'`{name}`' in x for x in tags), name
  config = (tmp_path / 'runs/adamw/config.gin').read_text()
  assert 'weight_decay = 0.01' in config
  mixed = json.loads((tmp_path / 'runs/mostly_kinds/run.json').read_text())
  assert 'mostly_kinds' in str(mixed)


@pytest.mark.slow
def test_a_small_sweep_and_a_preflight_run_as_printed(tmp_path):
  run(script(read('how_to/ablate.md')), tmp_path)
  table = (tmp_path / 'runs/small/sweep.md').read_text()
  assert '2 experts' in table and 'frozen base' in table
  done = run(script(read('how_to/preflight.md')), tmp_path)
  assert 'train step on v5e:2x2' in done.stdout


@pytest.mark.slow
def test_routers_are_read_as_printed(tmp_path):
  text = read('tutorials/routing.md')
  commands = script(text)
  assert commands.count('moe_lite.routing_report') == 1
  run(commands, tmp_path)
  page = (tmp_path / 'runs/mov/routing/index.html').read_text()
  # Another processor may round routers over a threshold, but not all of them.
  (printed,) = re.findall(r'^Of (\d+) routers, (\d+) specialised', text, re.M)
  (found,) = re.findall(r'Of (\d+) routers, (\d+) specialised', page)
  assert found[0] == printed[0]
  assert abs(int(found[1]) - int(printed[1])) <= 3
  for path in ('runs/mov/loss.png', 'compared/prompts.png'):
    assert (tmp_path / path).read_bytes().startswith(b'\x89PNG')


def session(text):
  """The Python blocks of a page as one process, and then its commands."""
  code = '\n'.join(
    x for language, x in BLOCK.findall(text) if language == PYTHON
  )
  return f"python - <<'END'\n{code}\nEND\n{script(text)}"


@pytest.mark.slow
def test_the_page_on_python_runs_as_printed(tmp_path):
  text = read('how_to/python.md')
  done = run(session(text), tmp_path)
  assert "Run('runs/mov')\n  last metrics: step 50, " in done.stdout
  assert ' % on 20 tasks' in done.stdout
  assert "adapters 'ia3': IA3 at " in done.stdout
  assert (tmp_path / 'encoder.png').stat().st_size > 1000


@pytest.mark.slow
def test_the_notebook_runs_as_printed(tmp_path):
  text = read('tutorials/notebook.md')
  done = run(session(text), tmp_path)
  said = re.search(r"{'base': '(.*) %', 'MoV-10': '(.*) %'}", done.stdout)
  assert said, done.stdout
  base, mov = map(float, said.groups())
  assert mov > base + 5
  assert "adapters 'default': MoV with 10 experts at " in done.stdout
  config = json.loads((tmp_path / 'peft/adapter_config.json').read_text())
  assert config['peft_type'] == 'IA3'
