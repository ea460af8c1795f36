"""The mesh that MESH = 'auto' takes, on eight fake devices."""

import json
import os
import subprocess
import sys

import pytest

from moe_lite.core import memory
from moe_lite.core.errors import UserError
from moe_lite.core.meshes import meshes
from moe_lite.training import plan
from tests.devices import device_flags
from tests.paths import ROOT


def measure():
  """The meshes chosen when devices have ever less memory."""
  import jax

  from moe_lite.core import parameters, partitioning
  from moe_lite.training import optimizers
  from tests import tiny

  def choose(limit):
    # Nothing says what a CPU device has.
    memory.capacity = lambda device: limit
    made, program = plan.compile_plan(
      'auto',
      False,
      model=tiny.model(scan_layers=True),
      batch_size=8,
      lengths={'inputs': 12, 'targets': 6},
      packing=False,
      optimizer=optimizers.adafactor,
      schedule=optimizers.constant(0.1),
      trainable=parameters.TRAINABLE_ADAPTERS,
      base_dtype='float32',
    )
    embedding = made.base['token_embedder']['embedding']
    part = embedding.sharding.shard_shape(embedding.shape)
    parts = embedding.size // (part[0] * part[1])
    shape = [int(n) for n in made.where.mesh.devices.shape]
    with partitioning.axis_rules(made.where.mesh):
      traced = jax.jit(made.step).lower(made.state, made.base, made.batch)
    found = {
      'mesh': shape,
      'parts': parts,
      'constraints': traced.as_text().count('sharding_constraint'),
    }
    return found, memory.usage(program).total

  roomy, most = choose(None)
  less, _ = choose(most - 1)
  try:
    choose(1000)
    message = ''
  except UserError as error:
    message = str(error)
  return {'roomy': roomy, 'less': less, 'message': message}


@pytest.fixture(scope='module')
def measured():
  done = subprocess.run(
    [sys.executable, '-m', 'tests.training.plan_test'],
    cwd=ROOT,
    env={**os.environ, 'XLA_FLAGS': device_flags(8)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_with_room_the_base_is_whole_on_every_device(measured):
  assert measured['roomy']['mesh'] == [8, 1]
  assert measured['roomy']['parts'] == 1


@pytest.mark.slow
def test_with_less_it_is_split_first_over_data(measured):
  assert measured['less']['mesh'] == [8, 1]
  assert measured['less']['parts'] == 8


@pytest.mark.slow
def test_activations_are_constrained(measured):
  # Flax drops constraints without a word where it finds no mesh.
  assert measured['less']['constraints'] > 20


@pytest.mark.slow
def test_without_any_every_mesh_is_named(measured):
  message = measured['message']
  assert 'no mesh of 8 devices will do' in message
  assert '(8, 1) fully sharded: parameters and batch alone take' in message
  # Two heads, eight devices.
  assert '(2, 4): MESH = (2, 4) (data, model) would split' in message


def test_meshes_come_cheapest_first():
  assert list(meshes(4)) == [
    ((4, 1), False),
    ((4, 1), True),
    ((2, 2), False),
    ((2, 2), True),
    ((1, 4), False),
  ]


@pytest.mark.parametrize(
  'text, wanted, available',
  [
    (
      'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
      'for HLO temporaries (15.95G) exceeds available HBM (15.75G).',
      15.95 * 2**30 + 12,
      15.75 * 2**30,
    ),
    (
      'RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory '
      'in memory space hbm. Used 20.10G of 15.75G hbm. Exceeded hbm capacity.',
      20.10 * 2**30,
      15.75 * 2**30,
    ),
  ],
)
def test_both_ways_to_say_that_memory_is_short(text, wanted, available):
  import jax
  import numpy as np

  def compile_program():
    raise jax.errors.JaxRuntimeError(text)

  held = jax.ShapeDtypeStruct(
    (12,),
    np.int8,
    sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
  )
  with pytest.raises(memory.DoesNotFit, match='GiB of a device') as caught:
    memory.compile_within(compile_program, held, None)
  assert caught.value.wanted == int(wanted)
  assert caught.value.available == int(available)


if __name__ == '__main__':
  print(json.dumps(measure()))
