"""The command, without libtpu: for CPU devices, or not compiled at all."""

import json
import subprocess
import sys

import pytest

from moe_lite.preflight import chips
from tests import gin_test

MINI = ('models/t5_1_1_mini', 'methods/mov', 'data/mini', 'runs/finetune')
LIBTPU = pytest.mark.skipif(
  chips.has_compiler(), reason='libtpu is installed: it would compile for it'
)


def preflight(*flags, files=MINI):
  return subprocess.run(
    [
      sys.executable,
      '-m',
      'moe_lite.preflight',
      *gin_test.command(*files)[1:],
      *flags,
    ],
    capture_output=True,
    text=True,
  )


@LIBTPU
def test_it_says_what_is_not_known_without_the_compiler():
  done = preflight(
    '--topology=v5e:2x2',
    '--json',
    '--gin.BATCH_SIZE=8',
    '--gin.MICROBATCHES=2',
    '--gin.NUM_EXPERTS=2',
  )
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
  done = preflight(
    '--topology=v5e:1x1',
    '--sweep',
    "--grid=ACTIVATION_DTYPE='float32','bfloat16'",
    '--gin.BATCH_SIZE=2',
    '--gin.NUM_EXPERTS=2',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('train step on v5e:1x1') == 1
  assert '--gin.MICROBATCHES=1' in done.stdout
  assert 'nothing ran' in done.stdout


@pytest.mark.slow
def test_an_evaluation_has_two_programs():
  files = ('models/t5_1_1_mini', 'methods/mov', 'data/mini', 'runs/eval')
  done = preflight('--topology=v5e:1x1', '--json', files=files)
  assert done.returncode == 0, done.stderr
  reports = [json.loads(line) for line in done.stdout.splitlines()]
  assert [r['program'] for r in reports] == ['encode', 'score']
  assert all(1.0 < r['flops_over_least'] < 1.3 for r in reports)


def test_what_does_not_fit_ends_with_code_3():
  files = ('models/t5_1_1_xxl', 'methods/mov', 'recipes/adapters')
  done = preflight('--topology=v5e:1x1', files=files)
  assert done.returncode == 3, done.stderr
  assert 'DOES NOT FIT: parameters and batch alone take 2' in done.stdout


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


# Each takes a process, and seconds.
QUICK = ('no topology', 'unknown', 'batch')


@pytest.mark.parametrize(
  'mistake',
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in MISTAKES
  ],
)
def test_a_mistake_ends_with_one_message_and_code_2(mistake):
  flags, message = MISTAKES[mistake]
  done = preflight(*flags)
  assert done.returncode == 2, done.stdout + done.stderr
  errors = [x for x in done.stderr.splitlines() if x.startswith('error:')]
  assert len(errors) == 1 and message in done.stderr
  assert 'Traceback' not in done.stderr and not done.stdout
