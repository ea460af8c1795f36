"""Runs that begin with the adapters of other runs, and train a part of them."""

import functools
import json
import random
import shutil

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.checkpoints import runs
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.convert import command
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from moe_lite.process import interrupts
from tests import tiny, tiny_training

SITES = ('key', 'intermediate')
ROUTERS = '.*router/.*'
IA3 = dict.fromkeys(SITES, adapters.IA3)
MOV = dict.fromkeys(SITES, functools.partial(adapters.MoV, num_experts=3))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return tiny.save_base(tmp_path_factory.mktemp('bases') / 'tiny')


def train(folder, base, sites, steps=4, scan_layers=False, **changes):
  model = tiny.model(sites, scan_layers)
  options = {'save_period': 2, **changes}
  return tiny_training.train(folder, base, model, steps, **options)


def read(folder, step=None):
  tree, description = runs.restore_trainable(folder, step)
  return parameters.flatten(tree), description


@pytest.fixture(scope='module')
def first(base, tmp_path_factory):
  """(IA)³, the first stage."""
  return train(tmp_path_factory.mktemp('stages') / 'first', base, IA3)


@pytest.fixture(scope='module')
def second(base, first, tmp_path_factory):
  """MoV that began from it, the second stage."""
  folder = tmp_path_factory.mktemp('stages') / 'second'
  return train(folder, base, MOV, initial_adapters=first)


@pytest.fixture(scope='module')
def third(base, second, tmp_path_factory):
  """Its routers alone, the third stage."""
  folder = tmp_path_factory.mktemp('stages') / 'third'
  return train(folder, base, MOV, 6, initial_adapters=second, trainable=ROUTERS)


def test_a_part_trains_and_the_checkpoint_holds_all(second, third):
  before, (after, description) = read(second)[0], read(third)
  assert after.keys() == before.keys()
  for path, leaf in after.items():
    is_equal = np.array_equal(leaf, before[path])
    assert is_equal == ('router' not in path), path
  assert description.method.trainable == ROUTERS


def test_the_chain_is_told(first, second, third, capsys):
  _, description = read(third)
  stages = description.stages
  assert [x['source'] for x in stages] == [first, second]
  assert [x['steps'] for x in stages] == [4, 4]
  assert [x['data'] for x in stages] == ['tiny_task'] * 2
  assert stages[0]['fingerprint'] == parameters.fingerprint(read(first)[0])
  with open(f'{third}/run.json') as file:
    assert json.load(file)['stages'] == stages


@pytest.mark.slow
@pytest.mark.parametrize('scan_layers', [False, True], ids=['loop', 'scan'])
def test_interrupted_stages_end_in_the_same_bytes(
  base, second, third, scan_layers, tmp_path, monkeypatch
):
  """The third stage stops after every step."""
  folder = tmp_path / 'run'
  monkeypatch.setattr(Checkpoints, 'reached_preemption', lambda *_: True)
  for _ in range(6):
    try:
      train(
        folder,
        base,
        MOV,
        6,
        scan_layers,
        initial_adapters=second,
        trainable=ROUTERS,
      )
    except interrupts.Interrupted:
      continue
  found, description = read(str(folder))
  wanted, told = read(third)
  assert description.step == 6
  assert description.stages == told.stages
  for path, leaf in wanted.items():
    if scan_layers:
      np.testing.assert_allclose(found[path], leaf, rtol=1e-5, atol=1e-6)
    else:
      np.testing.assert_array_equal(found[path], leaf)


def chain(folder, base, attempt):
  """(IA)³, MoV on other data, its routers; returns the stages' folders.

  Args:
    folder: the folder of the stages.
    base: their base.
    attempt: is given what trains a stage, and calls it until it has ended.
  """
  first, second, third = (str(folder / name) for name in 'abc')
  mixed = dataset.Dataset('tiny_mixture', tiny_training.LENGTHS, batch_size=4)
  attempt(lambda: train(first, base, IA3, 5))
  grown = {'initial_adapters': first, 'expert_noise': 0.1, 'dataset': mixed}
  attempt(lambda: train(second, base, MOV, 5, **grown))
  routers = {'initial_adapters': second, 'trainable': ROUTERS}
  attempt(lambda: train(third, base, MOV, 5, **routers))
  return first, second, third


@pytest.mark.slow
@pytest.mark.parametrize('seed', [0, 1])
def test_a_chain_interrupted_at_random_ends_in_the_same_bytes(
  base, seed, tmp_path, monkeypatch, capsys
):
  wanted = chain(tmp_path / 'whole', base, lambda stage: stage())
  rng = random.Random(seed)
  monkeypatch.setattr(
    Checkpoints, 'reached_preemption', lambda *_: rng.random() < 0.5
  )
  stops = []

  def until_done(stage):
    for _ in range(20):
      try:
        return stage()
      except interrupts.Interrupted as stop:
        stops.append(str(stop))

  found = chain(tmp_path / 'stopped', base, until_done)
  assert len(stops) > 3
  for ours, theirs in zip(found, wanted, strict=True):
    (leaves, said), (others, told) = read(ours), read(theirs)
    assert said.step == told.step == 5
    for path, leaf in others.items():
      np.testing.assert_array_equal(leaves[path], leaf)
    prints = [[s['fingerprint'] for s in x.stages or ()] for x in (said, told)]
    assert prints[0] == prints[1]
  capsys.readouterr()
  to = str(tmp_path / 'exported')
  assert command.main(['convert', 'export', found[-1], f'--to={to}']) == 0
  card = (tmp_path / 'exported' / 'README.md').read_text()
  for source, data in zip(found, ('tiny_task', 'tiny_mixture'), strict=False):
    assert source in card and data in card


@pytest.mark.slow
def test_frozen_adapters_without_a_source_keep_their_draws(
  base, second, tmp_path
):
  part = train(tmp_path / 'part', base, MOV, steps=1, trainable=ROUTERS)
  leaves, _ = read(part)
  assert np.all(leaves['encoder/layers_0/mlp/intermediate_adapter/scale'] == 1)
  assert leaves.keys() == read(second)[0].keys()


@pytest.mark.slow
def test_other_data_are_a_stage(base, first, tmp_path):
  run = str(tmp_path / 'run')
  shutil.copytree(first, run)
  other = dataset.Dataset('tiny_task', {'inputs': 32, 'targets': 8}, 4)
  with pytest.raises(UserError, match='ALLOW_CHANGES'):
    train(run, base, IA3, steps=5, dataset=other)
  train(run, base, IA3, steps=5, dataset=other, allow_changes=True)
  _, description = read(run)
  (stage,) = description.stages
  assert (stage['source'], stage['steps']) == (run, 4)


def test_mistakes(base, first, second, tmp_path):
  folder = tmp_path / 'run'
  begin = functools.partial(train, folder, base)
  with pytest.raises(UserError, match='EXPERT_NOISE = 0.1 is for copies'):
    begin(MOV, expert_noise=0.1)
  with pytest.raises(UserError, match='matches none of'):
    begin(MOV, trainable='.*rooter.*')
  other = tiny.save_base(tmp_path / 'other', seed=1)
  with pytest.raises(UserError, match='stands on another base'):
    train(folder, other, MOV, initial_adapters=first)
  assert not (folder / 'checkpoints').exists() or not list(
    (folder / 'checkpoints').iterdir()
  )
  # A run keeps what it began with.
  with pytest.raises(UserError, match='INITIAL_ADAPTERS .* is now None'):
    train(second, base, MOV, steps=8)
