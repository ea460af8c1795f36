"""A run of no steps keeps the adapters that it was begun with."""

import functools

import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.adapters import merging
from moe_lite.checkpoints import runs
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from tests import tiny, tiny_training

MOLORA = functools.partial(adapters.MoLoRA, num_experts=3, rank=2)
SITES = ('query', 'wo')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  base = tiny.save_base(folder / 'base')
  model = tiny.model(dict.fromkeys(SITES, MOLORA))
  return base, tiny_training.train(folder / 'mixture', base, model, 2)


def leaves(folder):
  tree, description = runs.restore_trainable(folder)
  return parameters.flatten(tree), description


def begin(tmp_path, run, adapter, **options):
  base, mixture = run
  model = tiny.model(dict.fromkeys(SITES, adapter))
  arguments = {'initial_adapters': mixture, **options}
  return leaves(
    tiny_training.train(tmp_path / 'begun', base, model, 0, **arguments)
  )


def test_a_router_after_the_fact_is_computed_from_the_experts(tmp_path, run):
  arrow = functools.partial(
    MOLORA, router=functools.partial(routing.ArrowRouter, k=2)
  )
  found, said = begin(tmp_path, run, arrow)
  before, _ = leaves(run[1])
  assert said.step == 0 and said.stages
  for path, leaf in found.items():
    if path.endswith('prototypes'):
      np.testing.assert_allclose(np.linalg.norm(leaf, axis=-1), 1, rtol=1e-5)
    else:
      np.testing.assert_array_equal(leaf, before[path])
  # The same command finds it done.
  again, _ = begin(tmp_path, run, arrow)
  assert again.keys() == found.keys()


def test_experts_are_merged_into_one(tmp_path, run):
  lora = functools.partial(adapters.LoRA, rank=6)
  found, _ = begin(tmp_path, run, lora, merge='mean')
  before, _ = leaves(run[1])
  for path in {path.rpartition('/')[0] for path in found}:
    a, b = merging.merged_pairs(
      before[f'{path}/a'],
      before[f'{path}/b'],
      16 / 2,
      rank=6,
      scale_after=16 / 6,
    )
    np.testing.assert_allclose(
      found[f'{path}/a'] @ found[f'{path}/b'], a @ b, atol=1e-5
    )


def test_several_experts_become_one_only_if_it_is_said_how(tmp_path, run):
  with pytest.raises(UserError, match='cannot begin'):
    begin(tmp_path, run, adapters.LoRA)
  with pytest.raises(UserError, match="Did you mean 'ties'"):
    begin(tmp_path, run, adapters.LoRA, merge='tiess')


def test_no_steps_without_adapters_are_a_mistake(tmp_path, run):
  with pytest.raises(UserError, match='TRAIN_STEPS = 0 must be'):
    begin(tmp_path, run, MOLORA, initial_adapters=None)
