"""All experts of a mixture train in one run as each of them trains alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import parameters
from moe_lite.data import dataset
from tests import tiny, tiny_training  # noqa: F401  registers the tasks

LENGTHS = {'inputs': 48, 'targets': 32}
NAMES = ['tiny_other', 'tiny_task']
E, STEPS, RATE = 2, 3, 0.005
# The loss is a sum, so that it is that of the two tasks together.
SUM = {'loss_normalizing_factor': 10.0}
SINGLE = {
  'lora': functools.partial(adapters.LoRA, rank=2, alpha=2.0),
  'ia3': adapters.IA3,
}
MIXTURES = {
  'lora': functools.partial(
    adapters.MoLoRA,
    num_experts=E,
    rank=2,
    alpha=2.0,
    router=routing.TaskRouter,
  ),
  'ia3': functools.partial(
    adapters.MoV, num_experts=E, router=routing.TaskRouter
  ),
}
SITES = ('query', 'key', 'intermediate', 'wo')


def batches(packing):
  data = dataset.Dataset(
    'tiny_mixture', LENGTHS, batch_size=6, packing=packing, task_ids='task'
  )
  rows = dataset.load(data, seed=0).as_numpy_iterator()
  return [next(rows) for _ in range(STEPS)]


def start(kind):
  """Experts away from the identity: a tree of leaves [E, ...]."""
  model = tiny.model(dict.fromkeys(SITES, MIXTURES[kind]), **SUM)
  shapes = parameters.adapters_of(model.abstract_variables()['params'])
  rng = np.random.default_rng(0)
  return model, jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0.5, 0.2, x.shape), jnp.float32), shapes
  )


def descend(model, adapters_of, steps):
  """Plain gradient descent on the summed loss."""
  base = jax.tree.map(jnp.asarray, tiny.base_params())

  @jax.jit
  def step(trained, batch):
    loss = lambda x: model.loss_fn(parameters.merge(x, base), batch)[0]
    slopes = jax.grad(loss)(trained)
    return jax.tree.map(lambda x, y: x - RATE * y, trained, slopes)

  for batch in steps:
    adapters_of = step(adapters_of, batch)
  return adapters_of


@pytest.mark.parametrize(
  'kind, packing',
  [
    ('lora', True),
    ('ia3', False),
    pytest.param('lora', False, marks=pytest.mark.slow),
    pytest.param('ia3', True, marks=pytest.mark.slow),
  ],
)
def test_one_run_trains_every_expert_as_it_trains_alone(kind, packing):
  model, experts = start(kind)
  steps = batches(packing)
  together = parameters.flatten(descend(model, experts, steps))
  single = tiny.model(dict.fromkeys(SITES, SINGLE[kind]), **SUM)
  moved = 0.0
  for e, _ in enumerate(NAMES):
    of_task = [
      {
        **{x: y for x, y in batch.items() if 'task' not in x},
        'decoder_loss_weights': batch['decoder_loss_weights']
        * (batch['decoder_task_ids'] == e + 1),
      }
      for batch in steps
    ]
    assert all(x['decoder_loss_weights'].sum() for x in of_task)
    first = jax.tree.map(lambda x, e=e: x[e], experts)
    alone = parameters.flatten(descend(single, first, of_task))
    assert alone.keys() == together.keys()
    for path, leaf in alone.items():
      np.testing.assert_allclose(
        together[path][e], leaf, atol=1e-5, err_msg=path
      )
      before = parameters.flatten(first)[path]
      moved = max(moved, float(np.abs(leaf - before).max()))
  assert moved > 1e-3
