"""The command, without libtpu: for CPU devices, or not compiled at all.

One process runs all commands of these tests: this file, run as a program. It
takes longer to import TensorFlow than to run most of them.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from moe_lite.preflight import chips, command
from tests import gin_test
from tests.paths import ROOT

TRAIN = ('models/t5_1_1_mini', 'methods/mov', 'data/mini', 'runs/finetune')
EVAL = (*TRAIN[:3], 'runs/eval')
LIBTPU = pytest.mark.skipif(
  chips.has_compiler(), reason='libtpu is installed: it would compile for it'
)
# Name to (gin files, flags).
COMMANDS = {
  'train': (
    TRAIN,
    [
      *('--topology=v5e:2x2', '--json', '--gin.BATCH_SIZE=8'),
      *('--gin.MICROBATCHES=2', '--gin.NUM_EXPERTS=2'),
    ],
  ),
  'eval': (EVAL, ['--topology=v5e:1x1', '--json']),
  'too large': (
    ('models/t5_1_1_xxl', 'methods/mov', 'recipes/adapters'),
    ['--topology=v5e:1x1'],
  ),
}
SWEEP = [
  *(
    '--topology=v5e:1x1',
    '--sweep',
    "--grid=ACTIVATION_DTYPE='float32','bfloat16'",
  ),
  *('--gin.BATCH_SIZE=2', '--gin.NUM_EXPERTS=2'),
]
# Name to (flags, words of the message).
MISTAKES = {
  'no topology': ([], 'No --topology was given'),
  'unknown': (['--topology=v5e:3'], 'is not a topology'),
  'heads': (
    ['--topology=v5e:4x4', '--gin.MESH=(1,16)'],
    'would split an axis of',
  ),
  'batch': (
    ['--topology=v5e:4x4', '--gin.BATCH_SIZE=8'],
    'BATCH_SIZE = 8 must be divisible by',
  ),
  'chips': (['--topology=v5e:2x2', '--gin.MESH=(8,1)'], 'needs 8 devices'),
  'mesh': (['--topology=v5e:1x1', "--gin.MESH='best'"], "MESH = 'best'"),
  'grid': (
    ['--topology=v5e:1x1', '--sweep', '--grid=BATCH_SIZE=a'],
    'give MACRO=VALUE',
  ),
  'dtype': (
    ['--topology=v5e:1x1', '--sweep', "--gin.BASE_DTYPE='int4'"],
    "BASE_DTYPE = 'int4' must be one of",
  ),
  'macro': (
    ['--topology=v5e:1x1', '--sweep', '--grid=BATCHSIZE=8'],
    "Did you mean 'BATCH_SIZE'",
  ),
}


def run(files, flags):
  """Runs a command in this process, and returns what it printed."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = command.main([*gin_test.command(*files), *flags])
  return {
    'returncode': code,
    'stdout': out.getvalue(),
    'stderr': err.getvalue(),
  }


def in_a_process(commands):
  """Runs commands, one after the other, in a process without devices yet."""
  done = subprocess.run(
    [sys.executable, '-m', 'tests.preflight.command_test'],
    cwd=ROOT,
    input=json.dumps(commands),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  return {name: SimpleNamespace(**printed) for name, printed in found.items()}


@pytest.fixture(scope='module')
def printed():
  mistakes = {name: (TRAIN, flags) for name, (flags, _) in MISTAKES.items()}
  return in_a_process({**COMMANDS, **mistakes})


@LIBTPU
def test_it_says_what_is_not_known_without_the_compiler(printed):
  done = printed['train']
  assert done.returncode == 0, done.stderr
  assert 'libtpu is not installed' in done.stderr
  (report,) = map(json.loads, done.stdout.splitlines())
  assert report['mesh'] == [4, 1] and report['chips'] == 4
  assert report['fits'] and report['bytes_moved'] is None
  assert 'activations' not in report['bytes']
  trainable = report['bytes']['trainable']
  # Adapters are whole on every chip, and their gradients cross once a step,
  # with a few numbers of the metrics.
  (_, reduced) = report['collectives']['all-reduce']
  assert trainable <= reduced < 1.5 * trainable
  assert 0.9 < report['flops_over_least'] < 1.2


@pytest.mark.slow
@LIBTPU
def test_a_sweep_prints_the_cheapest():
  done = in_a_process({'sweep': (TRAIN, SWEEP)})['sweep']
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('train step on v5e:1x1') == 1
  assert '--gin.MICROBATCHES=1' in done.stdout
  assert 'nothing ran' in done.stdout


def test_an_evaluation_has_three_programs(printed):
  done = printed['eval']
  assert done.returncode == 0, done.stderr
  reports = [json.loads(line) for line in done.stdout.splitlines()]
  assert [r['program'] for r in reports] == ['encode', 'score', 'generate']
  assert all(1.0 < r['flops_over_least'] < 1.3 for r in reports)


def test_what_does_not_fit_ends_with_code_3(printed):
  done = printed['too large']
  assert done.returncode == 3, done.stderr
  assert 'DOES NOT FIT: parameters and batch alone take 2' in done.stdout


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_ends_with_one_message_and_code_2(printed, mistake):
  done = printed[mistake]
  assert done.returncode == 2, done.stdout + done.stderr
  errors = [x for x in done.stderr.splitlines() if x.startswith('error:')]
  assert len(errors) == 1 and MISTAKES[mistake][1] in done.stderr
  assert 'Traceback' not in done.stderr and not done.stdout


def main():
  # Devices are counted once, so there must be enough for every command.
  chips.prepare(os.environ, 16)
  jax.devices()
  commands = json.load(sys.stdin)
  print(json.dumps({name: run(*commands[name]) for name in commands}))


if __name__ == '__main__':
  main()
