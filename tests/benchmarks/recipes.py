"""Times a training step of whole runs, side by side in one process.

  python -m tests.benchmarks.recipes mini_ia3 mini_mov_10

Recipes of gin/recipes/ whose data are at hand. Bases are drawn at random, as
their values do not change the time. Prints a line of JSON for each; asserts
nothing.
"""

import json
import os
import statistics

import gin
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from moe_lite import data
from moe_lite.core import memory, parameters
from moe_lite.data.batches import Batches
from moe_lite.process import cli
from moe_lite.training import plan, train_step
from tests.benchmarks.contestant import Contestant, interleave, median_ratio

REPEATS = flags.DEFINE_integer('repeats', 40, 'Timed steps of each recipe.')


def contestant(recipe: str) -> Contestant:
  """The step that `moe_lite.train` compiles for the recipe, and its batch."""
  gin.clear_config()
  argv = [
    'recipes',
    f'--gin_file=recipes/{recipe}.gin',
    "--gin.MODEL_DIR='unused'",
  ]
  cli.configure(argv, 'training.train', 'runs/finetune.gin')
  run = gin.get_bindings('training.train')
  dataset = run['dataset']
  planned = plan.plan(
    run['model'],
    dataset.batch_size,
    dataset.task_feature_lengths,
    dataset.packing,
    run['optimizer'],
    run['schedule'],
    run['trainable'],
    run['base_dtype'],
    microbatches=run['microbatches'],
    num_tasks=len(data.task_names(dataset)) if dataset.task_ids else 0,
  )
  program = planned.compile()
  rng = np.random.default_rng(0)
  base = jax.tree.map(
    lambda x: jax.device_put(
      jnp.asarray(0.05 * rng.standard_normal(x.shape), x.dtype), x.sharding
    ),
    planned.base,
  )
  state = train_step.init_state(
    run['model'], planned.optimizer, planned.state, seed=0
  )
  batch = next(Batches(dataset, planned.where.mesh, 0))

  def step() -> float:
    nonlocal state
    state, metrics = program(state, base, batch)
    return float(metrics['loss'])

  return Contestant(
    'moe_lite',
    recipe,
    step,
    {
      'trainable': parameters.count(state.trainable),
      'step_mib': round(memory.usage(program).total / 2**20, 1),
    },
  )


def main(argv: list[str]) -> None:
  if not argv[1:]:
    raise app.UsageError('Name recipes of gin/recipes/.')
  contestants = [contestant(recipe) for recipe in argv[1:]]
  load = os.getloadavg()[0]
  times = interleave(contestants, REPEATS.value)
  for one, seconds in zip(contestants, times, strict=True):
    line = {
      'recipe': one.method,
      'median_ms': round(1e3 * statistics.median(seconds), 1),
      'least_ms': round(1e3 * min(seconds), 1),
      'over_first': median_ratio(seconds, times[0]),
      **one.facts,
      'load_average': [round(load, 1), round(os.getloadavg()[0], 1)],
      'jax': jax.__version__,
      'device': jax.devices()[0].device_kind,
      'cores': os.cpu_count(),
    }
    print(json.dumps(line), flush=True)


if __name__ == '__main__':
  app.run(main)
