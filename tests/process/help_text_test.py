"""The help of a command tells what it reads, and is there at once."""

import re
import subprocess
import sys

import pytest

from moe_lite.process import help_text, macros
from moe_lite.process.commands import COMMANDS

FLAG = re.compile(r'^  --gin\.([A-Z][A-Z_0-9]*)=(.*)$', re.M)
RUNS = ('moe_lite.train', 'moe_lite.eval', 'moe_lite.infer')
HEAVY = ('jax', 'tensorflow', 'seqio', 'flax', 'matplotlib')


def flags(module):
  """Macro to its default, as a flag."""
  return dict(FLAG.findall(help_text.of(module)))


def test_runs_differ_in_their_macros():
  train, evaluation, infer = map(flags, RUNS)
  assert train['SAVE_PERIOD'] == '1000' and train['BASE_DTYPE'] == (
    '"\'bfloat16\'"'
  )
  assert train['MODEL_DIR'] == '...  (required)'
  assert 'SAVE_PERIOD' not in {*evaluation, *infer}
  assert evaluation['EVAL_SPLIT'] == '"\'validation\'"'
  assert 'EVAL_OUTPUT_DIR' not in {*train, *infer}
  assert infer['TEMPERATURE'] == '1.0'
  assert 'NUM_EXPERTS' in train and 'NUM_EXPERTS' in infer


def test_each_macro_has_its_type_meaning_and_other_defaults():
  text = ' '.join(help_text.of('moe_lite.train').split())
  assert (
    '--gin.NUM_EXPERTS=10 The number of experts at each site. It must be a '
    'whole number of at least 1. Other files: 30 in methods/mov.gin.'
  ) in text
  # Markdown is not for a terminal.
  assert '](' not in text


def test_a_commands_own_macros_come_first():
  for name, folder in zip(RUNS, ('runs', 'runs', 'runs'), strict=True):
    headings = re.findall(r'^Macros of (\w+)/:$', help_text.of(name), re.M)
    assert headings[0] == folder
    assert len(headings) == len(set(headings)) == 6


def test_gin_files_are_listed_with_what_they_are():
  text = help_text.of('moe_lite.infer')
  assert '  runs/infer.gin ' in text and '  runs/eval.gin ' not in text
  (line,) = [x for x in text.splitlines() if x.startswith('  methods/mov.gin')]
  assert 'MoV: a routed mixture' in line


def test_every_macro_is_in_some_help():
  told = {name for command in COMMANDS for name in flags(command.module)}
  assert told - {'NAME'} == macros.BY_NAME.keys()


@pytest.mark.parametrize('command', COMMANDS, ids=lambda x: x.name)
def test_lines_fit_a_terminal(command):
  lines = help_text.of(command.module).splitlines()
  assert len(lines) > 5
  # The folder of the gin files has any length.
  assert max(len(x) for x in lines if not x.startswith('Gin files')) <= 80


def test_nothing_heavy_is_imported(tmp_path):
  code = (
    'import runpy, sys\n'
    'sys.argv = ["x", "--help"]\n'
    'for name in ("train", "t5x", "sweep", "convert.__main__"):\n'
    '  try:\n'
    '    runpy.run_module(f"moe_lite.{name}", run_name="__main__")\n'
    '  except SystemExit as end:\n'
    '    assert end.code == 0, name\n'
    f'assert not {{*{HEAVY}}} & {{*sys.modules}}, sys.modules.keys()\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('Trains adapters') == 1


def test_only_a_flag_asks_for_help():
  assert help_text.is_asked(['x', 'add', '-h'])
  assert not help_text.is_asked(['--help', "--gin.MODEL_DIR='--help'"])
