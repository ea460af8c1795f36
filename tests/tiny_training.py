"""Runs of a few steps on `tiny_task`, on a tiny base."""

import tests.tiny_task  # noqa: F401  registers the tasks
from moe_lite.data import dataset
from moe_lite.training import loop, optimizers

LENGTHS = {'inputs': 32, 'targets': 16}


def train(folder, base, model, train_steps, **changes):
  """Trains a run; `changes` are arguments of `loop.train`."""
  arguments = {
    'dataset': dataset.Dataset('tiny_task', LENGTHS, batch_size=4),
    'schedule': optimizers.constant(0.02),
    'optimizer': optimizers.adafactor,
    'initial_checkpoint_path': base,
    'base_dtype': 'float32',
    'log_period': 2,
    **changes,
  }
  loop.train(model, str(folder), train_steps=train_steps, **arguments)
  return str(folder)
