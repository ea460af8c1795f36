"""What the TPU's own compiler says of the paper's sizes. Minutes a test.

Needs the extra `preflight`: bash launch/test.sh -m tpu.
"""

import json
import subprocess
import sys

import pytest

from moe_lite.preflight import chips
from tests import gin_test

GIB = 2**30

pytestmark = [
  pytest.mark.tpu,
  pytest.mark.skipif(
    not chips.has_compiler(), reason='needs libtpu, of the extra `preflight`'
  ),
]


def compile_step(size, topology, method='mov', experts=10, **macros):
  """The report of a training step at inputs 1024 and targets 256."""
  files = (f'models/t5_1_1_{size}', f'methods/{method}', 'recipes/adapters')
  flags = [f'--gin.{name}={value!r}' for name, value in macros.items()]
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      'moe_lite.preflight',
      *gin_test.command(*files)[1:],
      f'--gin.NUM_EXPERTS={experts}',
      *flags,
      f'--topology={topology}',
      '--json',
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  (report,) = map(json.loads, done.stdout.splitlines())
  shown = {
    'GiB': round(report['bytes']['total'] / GIB, 2),
    'collectives': report['collectives'],
    'least_seconds': report['least_seconds'],
    'compile_seconds': report['compile_seconds'],
    'compile_cpu_seconds': report['compile_cpu_seconds'],
  }
  print(size, topology, method, macros, shown)
  return report


def test_11b_trains_on_one_chip_of_16_gib_with_an_int8_base():
  report = compile_step(
    'xxl',
    'v5e:1x1',
    BASE_DTYPE='int8',
    REMAT='full',
    BATCH_SIZE=32,
    MICROBATCHES=16,
  )
  assert report['bytes']['total'] < 15.75 * GIB
  # One byte a weight, and no copy of the weights in another type.
  assert report['bytes']['base'] < 10.5 * GIB
  assert report['bytes']['activations'] < 4 * GIB


def test_11b_trains_on_four_chips_in_bfloat16():
  report = compile_step(
    'xxl', 'v5e:2x2', REMAT='full', BATCH_SIZE=8, FULLY_SHARDED=True
  )
  assert report['bytes']['base'] < 5.3 * GIB
  # Each weight is gathered twice, once forward and once backward, and nothing
  # but adapters' gradients is added up.
  _, gathered = report['collectives']['all-gather']
  assert gathered < 2.1 * report['bytes']['base']
  _, reduced = report['collectives']['all-reduce']
  assert reduced < 1.5 * report['bytes']['trainable']


def test_3b_trains_on_one_chip_in_bfloat16():
  report = compile_step(
    'xl', 'v5e:1x1', REMAT='minimal', BATCH_SIZE=32, MICROBATCHES=8
  )
  # Stacks of layers are read where they lie: no second copy of the base.
  assert report['bytes']['activations'] < 9 * GIB
  assert report['flops_over_least'] < 1.03


@pytest.mark.parametrize('topology', ['v4:2x2x1', 'v5p:2x2x1', 'v6e:2x2'])
def test_other_generations(topology):
  report = compile_step('xl', topology, BATCH_SIZE=32, MICROBATCHES=4)
  assert report['chips'] == 4


def test_only_adapters_gradients_cross_the_network():
  report = compile_step('xl', 'v5e:2x2', BATCH_SIZE=32, MICROBATCHES=4)
  assert set(report['collectives']) <= {'all-reduce'}
  _, reduced = report['collectives']['all-reduce']
  assert reduced < 1.5 * report['bytes']['trainable']


def test_compile_time_does_not_grow_with_depth():
  seconds = []
  for layers in (24, 48):
    config = 'moe_lite.t5.T5Config'
    report = compile_step(
      'xl',
      'v5e:2x2',
      FULLY_SHARDED=True,
      REMAT='full',
      BATCH_SIZE=8,
      **{
        f'{config}.num_encoder_layers': layers,
        f'{config}.num_decoder_layers': layers,
      },
    )
    seconds.append(report['compile_cpu_seconds'])
  assert seconds[1] < 1.2 * seconds[0], seconds
