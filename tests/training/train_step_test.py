"""One step: what moves, what stays, and that forms and microbatches agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from moe_lite import adapters
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.models import layout
from moe_lite.models.choice_model import ChoiceModel
from moe_lite.training import optimizers, train_step
from tests import tiny

SITES = {
  'ia3': dict.fromkeys(('key', 'intermediate'), adapters.IA3),
  'lora': dict.fromkeys(('query', 'wo'), adapters.LoRA),
  'mov': tiny.MOV,
  'molora': dict.fromkeys(
    ('query', 'wo'), functools.partial(adapters.MoLoRA, num_experts=3)
  ),
}


class Trainer:
  """Steps on one device, from a given base."""

  def __init__(self, model, trainable=parameters.TRAINABLE_ADAPTERS, **options):
    rate = options.pop('learning_rate', 0.05)
    dtype = options.pop('dtype', 'float32')
    self.model = model
    schedule = optimizers.constant(rate)
    optimizer = options.pop('optimizer', optimizers.adafactor)(schedule)
    self.where = layout.layout(model, trainable, partitioning.make_mesh())
    scan = model.module.scan_layers
    self.batch = options.pop('batch', tiny.batch())
    source = tiny.base_params()
    whole = parameters.like_network(source, scan)
    if trainable == '.*':
      self.base, loaded = {}, whole
    else:
      self.base, loaded = parameters.cast(whole, dtype), None
    self.state = train_step.init_state(
      model,
      optimizer,
      train_step.abstract_state(optimizer, trainable, self.where),
      0,
      loaded,
    )
    step = train_step.make_step(model, optimizer, schedule, **options)
    self.step = train_step.compile_step(
      step, self.state, self.base, self.batch, self.where
    )

  def run(self, steps, batch=None):
    batch = self.batch if batch is None else batch
    losses = []
    for _ in range(steps):
      self.state, metrics = self.step(self.state, self.base, batch)
      losses.append(float(metrics['loss'] / metrics['weight_sum']))
    return losses


def host(tree):
  # A copy: on a CPU device_get may be a view of a buffer that is then donated.
  return jax.tree.map(lambda x: np.array(x), tree)


@pytest.mark.parametrize('method', SITES)
def test_only_adapters_move_and_the_loss_falls(method):
  # Steps are relative to a parameter's size, and LoRA's B begins at zero.
  rate = 1.0 if method in ('lora', 'molora') else 0.05
  trainer = Trainer(
    tiny.model(SITES[method]), dtype='bfloat16', learning_rate=rate
  )
  base, before = host(trainer.base), host(trainer.state.trainable)
  losses = trainer.run(25)
  assert losses[-1] < losses[0] - 0.02, losses
  jax.tree.map(np.testing.assert_array_equal, base, host(trainer.base))
  moved = {
    path: bool(np.any(old != new))
    for (path, old), new in zip(
      parameters.flatten(before).items(),
      parameters.flatten(host(trainer.state.trainable)).values(),
      strict=True,
    )
  }
  assert all(moved.values()), moved
  assert all('_adapter/' in path for path in moved)


def test_full_fine_tuning_begins_at_the_base_and_learns():
  trainer = Trainer(tiny.model({}), '.*')
  jax.tree.map(
    np.testing.assert_array_equal,
    host(trainer.state.trainable),
    host(tiny.base_params()),
  )
  losses = trainer.run(25)
  assert losses[-1] < losses[0] - 1.0, losses


@pytest.mark.parametrize('of_choices', [False, True])
def test_microbatches_are_the_whole_batch(of_choices):
  """To rounding: the sums over rows are taken in another order.

  Gradient descent does not magnify that, as optimizers do which divide by a
  gradient's own size.
  """
  results = []
  for microbatches in (1, 4):
    model = tiny.model(loss_normalizing_factor='AVERAGE_PER_SEQUENCE')
    batch = tiny.batch()
    if of_choices:
      model, batch = ChoiceModel(model.module), tiny.choice_batch(8)
    trainer = Trainer(
      model, microbatches=microbatches, optimizer=optax.sgd, batch=batch
    )
    trainer.run(3)
    results.append(host(trainer.state.trainable))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    *results,
  )


@pytest.mark.slow
def test_loop_and_scan_take_equal_steps():
  """One RMS a layer in both: a stacked leaf would have one over all layers."""
  results = []
  start = None
  for scan_layers in (False, True):
    trainer = Trainer(
      tiny.model(SITES['molora'], scan_layers=scan_layers),
      learning_rate=0.01,
    )
    # The two forms draw different initial values.
    start = start or host(trainer.state.trainable)
    trainer.state = trainer.state.replace(
      trainable=jax.device_put(
        parameters.like_network(start, scan_layers),
        jax.tree.map(lambda x: x.format, trainer.state.trainable),
      )
    )
    trainer.run(3)
    results.append(host(parameters.unstack_layers(trainer.state.trainable)))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    *results,
  )


def test_a_pattern_that_tells_scanned_layers_apart_is_refused():
  with pytest.raises(UserError, match='SCAN_LAYERS'):
    layout.layout(
      tiny.model(scan_layers=True),
      r'.*layers_0/.*_adapter/.*|decoder_norm/.*|.*/relpos_bias/.*',
      partitioning.make_mesh(),
    )


def test_initial_values_depend_on_the_seed_alone():
  model = tiny.model()
  where = layout.layout(
    model, parameters.TRAINABLE_ADAPTERS, partitioning.make_mesh()
  )
  optimizer = optimizers.adafactor(optimizers.constant(1.0))
  abstract = train_step.abstract_state(
    optimizer, parameters.TRAINABLE_ADAPTERS, where
  )
  leaves = [
    jnp.concatenate(
      [
        x.ravel()
        for x in jax.tree.leaves(
          train_step.init_state(model, optimizer, abstract, seed).trainable
        )
      ]
    )
    for seed in (0, 0, 1)
  ]
  assert (leaves[0] == leaves[1]).all()
  assert (leaves[0] != leaves[2]).any()
