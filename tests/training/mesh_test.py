"""On eight fake devices a run gives what it gives on one.

Devices are counted once in a process, so the work is done in one of its own:
this file, run as a program, prints its findings as JSON.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.devices import device_flags
from tests.paths import ROOT

DEVICES = 8
# The slow tests take these, too: what the others do all at once, apart.
APART = (
  *('one device', 'data', 'data and model', 'fully sharded, scanned'),
  'microbatches',
)
# Name to (mesh, fully sharded, microbatches, gradients apart, scan).
CASES = {
  'one device': ((1, 1), False, 1, False, False),
  # Initial values are drawn otherwise in the scan form.
  'one device, scanned': ((1, 1), False, 1, False, True),
  'data': ((8, 1), False, 1, False, False),
  'data and model': ((4, 2), False, 1, False, False),
  'fully sharded, scanned': ((4, 2), True, 1, False, True),
  'microbatches': ((2, 2), True, 2, False, False),
  'gradients apart': ((4, 2), True, 2, True, True),
}
# Beside the cases: attention alone, in blocks.
ATTENTION = 'attention'
STEPS = 3
TOLERANCE = 1e-5


def measure(names):
  """Losses of a few steps, scores and shardings of every case."""
  import jax
  import optax

  from moe_lite.core import parameters, partitioning
  from moe_lite.inference.trained import Trained
  from moe_lite.models import layout
  from moe_lite.training import optimizers, train_step
  from tests import tiny

  def score(model, state, base, mesh, batch):
    params = parameters.merge(
      parameters.like_network(state.trainable, model.module.scan_layers),
      base,
    )
    trained = Trained(model, params, mesh, {})
    inputs = {'encoder_input_tokens': np.asarray(batch['encoder_input_tokens'])}
    encoded = trained.compile(model.encode, gather=False)(inputs)
    targets = (
      np.asarray(batch[f'decoder_{name}_tokens'])
      for name in ('input', 'target')
    )
    # Two choices an input, the second one reversed.
    choices = (np.stack([x, x[:, ::-1]], axis=1) for x in targets)
    scores = trained.compile(model.score_choices)
    return np.asarray(scores(encoded, inputs, *choices)).tolist()

  def train(shape, fully_sharded, microbatches, apart, scan_layers):
    model = tiny.model(
      scan_layers=scan_layers,
      z_loss=1e-4,
      load_balance=1.0,
      router_z_loss=0.1,
      entropy_bonus=0.1,
      routing_metrics=True,
    )
    pattern = parameters.TRAINABLE_ADAPTERS
    schedule = optimizers.constant(0.05)
    # Not one that divides by a gradient's own size, and so by its rounding.
    optimizer = optax.sgd(schedule)
    mesh = partitioning.make_mesh(shape)
    where = layout.layout(model, pattern, mesh, fully_sharded)
    form = parameters.like_network(tiny.base_params(), scan_layers)
    shardings = parameters.flatten(where.parameters)
    base = parameters.unflatten(
      {
        path: jax.device_put(leaf, shardings[path])
        for path, leaf in parameters.flatten(form).items()
      }
    )
    batch = jax.device_put(tiny.batch(), partitioning.batch_sharding(mesh))
    state = train_step.init_state(
      model,
      optimizer,
      train_step.abstract_state(optimizer, pattern, where),
      0,
    )
    step = train_step.compile_step(
      train_step.make_step(
        model,
        optimizer,
        schedule,
        microbatches,
        shards=shape[0] if apart else 1,
      ),
      state,
      base,
      batch,
      where,
    )
    losses = []
    for _ in range(STEPS):
      state, metrics = step(state, base, batch)
      losses.append(float(metrics['loss']))
    embedding = base['token_embedder']['embedding']
    return {
      'losses': losses,
      'scores': score(model, state, base, mesh, batch),
      'embedding on a device': embedding.addressable_shards[0].data.size,
      'embedding': embedding.size,
    }

  return {name: train(*CASES[name]) for name in names} | {ATTENTION: attend()}


def attend():
  """Attention and its gradients in blocks on a mesh, beside the plain form.

  Returns:
    The largest differences over the largest number, and how many of all queries
    and keys a device holds.
  """
  import jax
  from jax.sharding import NamedSharding, PartitionSpec

  from moe_lite.core import partitioning
  from tests.t5 import attention_test

  shape = (8, 512, 4, 8)
  q, k, v = (attention_test.draw(i, *shape) for i in range(3))
  _, _, _, visible = attention_test.arguments('packed', 512)
  ids = visible.query_segments[np.arange(8) % 3]
  visible = visible.replace(
    query_segments=ids,
    key_segments=ids,
    distances=attention_test.draw(3, 4, 1023),
  )
  wanted = attention_test.compute('plain', q, k, v, visible)
  mesh = partitioning.make_mesh((4, 2))
  split = NamedSharding(mesh, PartitionSpec('data', None, 'model'))
  with partitioning.axis_rules(mesh):
    given = jax.device_put((q, k, v), split)
    found = attention_test.compute('blocks', *given, visible)
  differences = [
    float(abs(x - y).max() / abs(y).max())
    for x, y in zip(found, wanted, strict=True)
  ]
  parts = [x.size / x.addressable_shards[0].data.size for x in found[:4]]
  return {'differences': differences, 'parts': parts}


@pytest.fixture(
  scope='module',
  params=[False, pytest.param(True, marks=pytest.mark.slow)],
  ids=['quick', 'all'],
)
def measured(request):
  names = [name for name in CASES if request.param or name not in APART]
  done = subprocess.run(
    [sys.executable, '-m', 'tests.training.mesh_test', *names],
    cwd=ROOT,
    env={**os.environ, 'XLA_FLAGS': device_flags(DEVICES)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_attention_in_blocks_is_split_over_a_mesh(measured):
  found = measured[ATTENTION]
  assert max(found['differences']) < TOLERANCE
  assert found['parts'] == [8, 8, 8, 8]


def test_a_mesh_changes_no_number(measured):
  for name in measured.keys() - {ATTENTION}:
    found = measured[name]
    one = 'one device, scanned' if CASES[name][-1] else 'one device'
    for what in ('losses', 'scores'):
      np.testing.assert_allclose(
        found[what], measured[one][what], rtol=TOLERANCE, err_msg=name
      )


def test_a_device_holds_its_part_of_the_base(measured):
  parts = {
    name: found['embedding'] / found['embedding on a device']
    for name, found in measured.items()
    if name != ATTENTION
  }
  expected = {
    'one device': 1,
    'one device, scanned': 1,
    'data': 1,
    'data and model': 2,
    'fully sharded, scanned': 8,
    'microbatches': 4,
    'gradients apart': 8,
  }
  assert parts == {name: expected[name] for name in parts}


if __name__ == '__main__':
  print(json.dumps(measure(sys.argv[1:])))
