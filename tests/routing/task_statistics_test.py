"""Routers read the numbers beside tokens, and are summed up by them."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from moe_lite.models.model import ROUTING
from tests import tiny, tiny_training

STATISTICS = {
  'task_weight': 'weight',
  'task_entropy': 'entropy',
  'task_tokens': 'tokens',
}
LENGTHS = {'inputs': 48, 'targets': 32}


def numbered(batch, of_row, count):
  """The batch with a task's number for each row."""
  of_row = np.asarray(of_row, np.int32)[:, None]
  return {
    **batch,
    'encoder_task_ids': of_row * (batch['encoder_input_tokens'] > 0),
    'decoder_task_ids': of_row * (batch['decoder_target_tokens'] > 0),
    'task_numbers': np.tile(np.arange(1, count + 1), (len(of_row), 1)),
  }


def routing_of(model, params, batch):
  return jax.jit(model.loss_fn)(params, batch)[1][ROUTING]


@pytest.mark.parametrize(
  'scan_layers', [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_a_tasks_sums_are_those_of_its_rows_alone(scan_layers):
  model = tiny.model(scan_layers=scan_layers, routing_metrics=True)
  shapes = dict.fromkeys(
    ('encoder_input_tokens', 'decoder_input_tokens'), (1, 8)
  )
  params = model.get_initial_variables(jax.random.key(0), shapes)['params']
  batch = tiny.batch(rows=8)
  of_row = [1, 3, 3, 1, 1, 3, 3, 3]  # Nothing belongs to the second task.
  found = routing_of(model, params, numbered(batch, of_row, 3))
  plain = routing_of(model, params, batch)
  for task in (1, 3):
    alone = {name: x[np.array(of_row) == task] for name, x in batch.items()}
    for router, wanted in routing_of(model, params, alone).items():
      for name, of_all in STATISTICS.items():
        axis = -2 if name == 'task_weight' else -1
        np.testing.assert_allclose(
          np.take(np.asarray(found[router][name]), task - 1, axis),
          wanted[of_all],
          rtol=1e-5,
        )
  for router, sums in plain.items():
    assert not np.any(np.asarray(found[router]['task_tokens'])[..., 1])
    for name, x in sums.items():
      np.testing.assert_allclose(found[router][name], x, rtol=1e-6)


class OfTask(routing.BaseRouter):
  """One expert for each task."""

  @property
  def needs(self):
    return frozenset({'task'})

  def logits(self, x, axis, context):
    is_of = jax.nn.one_hot(context.task - 1, self.num_experts, dtype=bool)
    return jnp.where(is_of, 0.0, -1e9)


def routed_by_task():
  sites = dict.fromkeys(
    ('key', 'intermediate'),
    functools.partial(adapters.MoV, num_experts=3, router=OfTask),
  )
  model = tiny.model(sites, routing_metrics=True)
  shapes = model.abstract_variables()['params']
  rng = np.random.default_rng(0)
  draw = lambda leaf: np.float32(rng.normal(1, 0.3, leaf.shape))
  drawn = jax.tree.map(draw, parameters.adapters_of(shapes))
  return model, parameters.merge(drawn, tiny.base_params())


def test_a_router_sees_the_task_of_every_token_of_a_packed_row():
  model, params = routed_by_task()
  batch = numbered(tiny.batch(rows=2), [1, 1], 3)
  for side, tokens in (
    ('encoder', 'encoder_input_tokens'),
    ('decoder', 'decoder_target_tokens'),
  ):
    ids = np.where(np.arange(batch[tokens].shape[1]) < 1, 1, 3)
    is_token = batch[tokens] > 0
    batch[f'{side}_task_ids'] = np.int32(ids * is_token)
    batch[f'{side}_segment_ids'] = np.int32((1 + (ids == 3)) * is_token)
    batch[f'{side}_positions'] = np.zeros_like(batch[tokens])
  for sums in routing_of(model, params, batch).values():
    weight, tokens = sums['task_weight'], sums['task_tokens']
    np.testing.assert_allclose(weight, np.diag(tokens), rtol=1e-6)
    assert tokens[0] == 2 and tokens[2] > 2


def test_without_packing_the_decoder_has_the_task_of_its_input():
  model, params = routed_by_task()
  batch = numbered(tiny.batch(rows=4), [1, 2, 3, 1], 3)
  inputs = {
    name: batch[name] for name in ('encoder_input_tokens', 'encoder_task_ids')
  }
  found = model.decode(
    params,
    model.encode(params, inputs),
    inputs,
    batch['decoder_input_tokens'],
    batch['decoder_target_tokens'],
  )
  wanted = model.logits(params, batch)
  is_target = batch['decoder_target_tokens'] > 0
  np.testing.assert_allclose(
    np.asarray(found)[is_target], np.asarray(wanted)[is_target], rtol=1e-4
  )
  other = {**batch, 'encoder_task_ids': batch['encoder_task_ids'] % 3 + 1}
  assert np.abs(model.logits(params, other) - wanted).max() > 1e-3


def test_a_router_of_tasks_needs_a_batch_that_says_them():
  model, params = routed_by_task()
  with pytest.raises(UserError, match='give --gin.TASK_IDS='):
    model.logits(params, tiny.batch())


def test_a_run_tells_how_its_tasks_use_the_experts(tmp_path):
  tiny_training.train(
    tmp_path / 'run',
    tiny.save_base(tmp_path / 'base'),
    tiny.model(routing_metrics=True),
    4,
    dataset=dataset.Dataset(
      'tiny_mixture', LENGTHS, batch_size=4, task_ids='task'
    ),
    microbatches=2,
  )
  facts = json.loads((tmp_path / 'run' / 'run.json').read_text())
  assert facts['task_names'] == ['tiny_other', 'tiny_task']
  assert facts['data']['task_ids'] == 'task'
  lines = (tmp_path / 'run' / 'routing.jsonl').read_text().splitlines()
  assert len(lines) == 2
  for line in map(json.loads, lines):
    assert set(line['tasks']) == set(facts['task_names'])
    of_tasks = line['tasks']['tiny_task'], line['tasks']['tiny_other']
    # The mixture has three times as much of the one.
    assert of_tasks[0]['tokens'] > of_tasks[1]['tokens'] > 0
    for of_task in of_tasks:
      assert 0 <= of_task['from_all'] < 1 and of_task['entropy'] > 0
      assert of_task['share'].keys() == line['routers'].keys()
  metrics = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  assert 'routing_from_all_tasks' in json.loads(metrics[-1])


@pytest.mark.slow
def test_numbers_change_no_parameter(tmp_path):
  base = tiny.save_base(tmp_path / 'base')
  lines = {}
  for by in (None, 'task'):
    data = dataset.Dataset('tiny_mixture', LENGTHS, batch_size=4, task_ids=by)
    folder = tmp_path / str(by)
    tiny_training.train(
      folder, base, tiny.model(), 3, dataset=data, log_period=1
    )
    read = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
    lines[by] = [(x['step'], x['loss'], x['grad_norm']) for x in read]
  assert lines[None] == lines['task'] and len(lines[None]) == 3
