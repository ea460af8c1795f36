"""Stages under T5X: runs that begin with adapters of either loop."""

import json

import numpy as np
import pytest

from moe_lite.checkpoints import formats
from moe_lite.core import parameters
from tests.integrations.t5x_commands import (
  FEW,
  command,
  losses,
  needs_t5x,
  train,
)

TWO_STEPS = ('--gin.TRAIN_STEPS=2', '--gin.LOG_PERIOD=1')
TWO_STEPS += ("--gin.BASE_DTYPE='float32'",)
TWO_EXPERTS = '--gin.NUM_EXPERTS=2'


def train_here(run, method, *arguments):
  command(
    'moe_lite.train',
    f'--gin.MODEL_DIR={str(run)!r}',
    *(*FEW, *TWO_STEPS, *arguments),
    files=(
      'models/t5_1_1_mini',
      f'methods/{method}',
      'data/mini',
      'runs/finetune',
    ),
  )
  lines = (run / 'metrics.jsonl').read_text().splitlines()
  return {r['step']: r['normalized_loss'] for r in map(json.loads, lines)}


def begin(run):
  return f'--gin.INITIAL_ADAPTERS={str(run)!r}'


def read(checkpoint):
  tree, description = formats.read_trained(str(checkpoint))
  return parameters.flatten(tree), description


@pytest.mark.t5x
@needs_t5x
def test_runs_of_either_loop_begin_with_the_others_adapters(tmp_path):
  first, second, third = (tmp_path / name for name in 'abc')
  train_here(first, 'ia3')
  here = train_here(tmp_path / 'here', 'mov', TWO_EXPERTS, begin(first))
  printed = train(
    second, 'mini', 'mov', *(*TWO_STEPS, TWO_EXPERTS, begin(first))
  )
  assert 'IA3 as MoV' in printed
  # Before the first update, the mixture is the (IA)³ that it began with.
  assert losses(second)[1] == pytest.approx(here[1], rel=1e-5)

  routers = "--gin.TRAINABLE='.*router/.*'"
  source = second / 'checkpoint_2'
  train(
    third, 'mini', 'mov', *(*TWO_STEPS, TWO_EXPERTS, begin(source), routers)
  )
  before, after = read(source)[0], read(third / 'checkpoint_2')
  assert after[0].keys() == before.keys()
  for path, leaf in after[0].items():
    assert np.array_equal(leaf, before[path]) == ('router' not in path), path
  stages = after[1].stages
  assert [x['source'] for x in stages] == [str(first), str(source)]

  # And back: our loop goes on from the last stage.
  last = tmp_path / 'last'
  train_here(last, 'mov', TWO_EXPERTS, begin(third / 'checkpoint_2'))
  assert len(read(last)[1].stages) == 3


@pytest.mark.t5x
@needs_t5x
def test_what_does_not_fit_is_one_message(tmp_path):
  first = tmp_path / 'first'
  train_here(first, 'ia3')
  printed = train(
    tmp_path / 'second',
    'mini',
    'lora',
    *TWO_STEPS,
    begin(first),
    module='moe_lite.t5x train',
    code=2,
  )
  assert 'which cannot begin from it' in printed
  assert 'Traceback' not in printed
