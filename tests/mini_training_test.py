"""Every method file on the mini suite: the loss falls, and only it moves."""

import itertools

import gin
import numpy as np
import pytest

from moe_lite.checkpoints import bases as base_checkpoints
from moe_lite.core import parameters, partitioning
from moe_lite.data import batches
from moe_lite.data.dataset import Dataset
from moe_lite.models import layout
from moe_lite.process import cli
from moe_lite.training import train_step
from tests import gin_test

STEPS = 16
# Adafactor's steps are relative to a parameter's size; LoRA's b begins at zero.
LEARNING_RATES = {'full': 2e-3, 'ia3': 0.1, 'mov': 0.1}


@pytest.fixture(scope='module')
def first_batches():
  """The first batches of a task, through SeqIO and packing."""
  import tasks.mini.suite  # noqa: F401  registers the task

  dataset = Dataset('mini_kinds_choose', {'inputs': 64, 'targets': 16}, 4)
  mesh = partitioning.make_mesh((1, 1))
  return list(itertools.islice(batches.Batches(dataset, mesh, seed=0), STEPS))


def configured(method):
  """The arguments of `training.train` that the gin files make."""
  files = ('models/t5_1_1_mini', f'methods/{method}', 'data/mini')
  argv = [
    'train',
    *(f'--gin_file={file}.gin' for file in (*files, 'runs/finetune')),
    "--gin.MODEL_DIR='unused'",
    f'--gin.LEARNING_RATE={LEARNING_RATES.get(method, 0.3)}',
  ]
  if method in gin_test.MIXTURES:
    argv.append('--gin.NUM_EXPERTS=4')
  cli.configure(argv, 'training.train', 'runs/finetune.gin')
  try:
    return gin.get_bindings('training.train')
  finally:
    gin.clear_config()


def host(tree):
  # A copy: on a CPU device_get may be a view of a buffer that is then donated.
  return {p: np.array(x) for p, x in parameters.flatten(tree).items()}


# train_step_test trains every method on a smaller network.
@pytest.mark.slow
@pytest.mark.parametrize('method', gin_test.METHODS)
def test_the_loss_falls_and_only_what_trains_moves(method, first_batches):
  config = configured(method)
  model, trainable = config['model'], config['trainable']
  optimizer = config['optimizer'](config['schedule'])
  where = layout.layout(model, trainable, partitioning.make_mesh((1, 1)))
  abstract, _ = parameters.split(where.abstract, r'(?!.*_adapter/).*')
  whole, info = base_checkpoints.load_base(
    config['initial_checkpoint_path'], abstract
  )
  assert info.source == 'mini'
  is_full = trainable == parameters.EVERYTHING
  base = {} if is_full else parameters.cast(whole, config['base_dtype'])
  state = train_step.init_state(
    model,
    optimizer,
    train_step.abstract_state(optimizer, trainable, where),
    0,
    whole if is_full else None,
  )
  before, frozen = host(state.trainable), host(base)
  step = train_step.compile_step(
    train_step.make_step(model, optimizer, config['schedule']),
    state,
    base,
    first_batches[0],
    where,
  )
  losses = []
  for batch in first_batches:
    state, metrics = step(state, base, batch)
    losses.append(float(metrics['loss'] / metrics['weight_sum']))
  # The first batches' losses vary by a few percent; learning is far more.
  assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:2]), losses
  after = host(state.trainable)
  assert all(np.any(before[p] != after[p]) for p in before)
  assert is_full or all('_adapter/' in path for path in before)
  assert host(base).keys() == frozen.keys()
  for path, leaf in host(base).items():
    np.testing.assert_array_equal(leaf, frozen[path])
