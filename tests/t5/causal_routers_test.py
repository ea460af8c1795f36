"""No router of experts sees later positions of the decoder, not even in a mean.

Every router stands in a whole network, at sites that read the decoder, and at
sites that read what the encoder wrote.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import Transformer
from tests.t5.network_test import FIRST, SECOND, config, rows

TASKS, R, T = 3, 2, 6
SITES = ('query', 'key', 'wo')


def molora(router, averages=False, **fields):
  return functools.partial(
    adapters.MoLoRA,
    num_experts=TASKS,
    rank=R,
    router=functools.partial(router, **fields),
    averages=averages,
  )


CASES = {
  'task': molora(routing.TaskRouter),
  'uniform': molora(routing.UniformRouter),
  'arrow': molora(routing.ArrowRouter, k=2),
  'spectr': molora(routing.SpectrRouter, rank=R, k=2),
  'gates': molora(routing.GateRouter),
  'phatgoose': molora(routing.PhatgooseRouter, k=2),
  'poly': molora(routing.PolyRouter, True, tasks=TASKS),
  'mhr': molora(routing.PolyRouter, True, tasks=TASKS, splits=2),
  'smear': molora(routing.SmearRouter, True),
  'averaged arrow': molora(routing.ArrowRouter, True),
}
every_case = pytest.mark.parametrize('case', CASES)


@functools.cache
def build(case):
  """A model, and random parameters of it."""
  network = config(
    num_encoder_layers=1,
    num_decoder_layers=1,
    adapters=dict.fromkeys(SITES, CASES[case]),
  )
  model = EncoderDecoderModel(Transformer(network))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    # Leaves of routers are large enough that tokens are routed apart.
    deviation = 1.0 if path[-2].key == 'router' else 0.4
    return jnp.asarray(rng.normal(0, deviation, leaf.shape), jnp.float32)

  shapes = model.abstract_variables()['params']
  return model, jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def logits_fn(case):
  return jax.jit(build(case)[0].logits)


def inputs():
  ids = np.array([[5, 6, 7, 8, 0], [9, 11, 0, 0, 0], [3, 8, 4, 12, 6]])
  is_token = ids > 0
  tasks = np.array([[2], [3], [1]])
  return {
    'encoder_input_tokens': ids.astype(np.int32),
    'encoder_task_ids': np.where(is_token, tasks, 0).astype(np.int32),
  }


def teacher_forced(case, targets):
  batch = {
    **inputs(),
    'decoder_target_tokens': targets,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
  }
  return np.asarray(logits_fn(case)(build(case)[1], batch))


@every_case
def test_a_position_does_not_see_what_the_decoder_reads_later(case):
  rng = np.random.default_rng(1)
  targets, others = rng.integers(3, 60, (2, 3, T)).astype(np.int32)
  shorter, kept = targets.copy(), 3
  others[:, :kept] = targets[:, :kept]
  shorter[:, kept:] = 0
  before = teacher_forced(case, targets)
  # The input at a position is the target before it. A position without a
  # target is padding.
  for changed, count in ((others, kept + 1), (shorter, kept)):
    after = teacher_forced(case, changed)
    np.testing.assert_allclose(after[:, :count], before[:, :count], atol=1e-5)
    assert np.abs(after[:, count:] - before[:, count:]).max() > 0.1


def greedy(inputs, cache, tokens_to_logits, **options):
  """Decodes greedily, without an end; returns ids [B, T], logits [B, T, V]."""
  del options

  def step(carried, _):
    ids, cache = carried
    logits, cache = tokens_to_logits(ids[:, None], cache)
    # Ids 0 and 1 are padding and the end.
    ids = logits[:, 2:].argmax(-1).astype(jnp.int32) + 2
    return (ids, cache), (ids, logits)

  written = jax.lax.scan(step, (inputs[:, 0], cache), length=T)[1]
  return jax.tree.map(lambda x: x.swapaxes(0, 1), written)


@every_case
def test_greedy_decoding_through_the_cache_is_teacher_forcing(case):
  model, params = build(case)
  decode = jax.jit(functools.partial(model.predict_batch, decode_fn=greedy))
  starts = np.zeros((3, T), np.int32)
  ids, cached = decode(params, {**inputs(), 'decoder_input_tokens': starts})
  assert len(np.unique(ids)) > 3
  forced = teacher_forced(case, np.asarray(ids))
  np.testing.assert_allclose(cached, forced, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(forced[..., 2:].argmax(-1) + 2, ids)


@every_case
def test_packed_examples_are_routed_apart(case):
  _, params = build(case)

  def logits(*examples):
    """Teacher-forced logits of one row of (task, example) pairs."""
    batch = dict(rows(*(example for _, example in examples)))
    numbers = jnp.asarray([0, *(task for task, _ in examples)])
    for stream in ('encoder', 'decoder'):
      batch[f'{stream}_task_ids'] = numbers[batch[f'{stream}_segment_ids']]
    return logits_fn(case)(params, batch)[0]

  both = logits((2, FIRST), (3, SECOND))
  np.testing.assert_allclose(both[:3], logits((2, FIRST))[:3], atol=1e-4)
  np.testing.assert_allclose(both[3:7], logits((3, SECOND))[:4], atol=1e-4)
  by_task = np.abs(both[:3] - logits((1, FIRST))[:3]).max() > 1e-2
  assert by_task == (case in ('task', 'gates', 'poly', 'mhr'))
