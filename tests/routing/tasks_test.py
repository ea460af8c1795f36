"""Routers by task: each expert alone, and PEFT's Poly and MHR."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from tests import tiny
from tests.adapters.mixing import SITE, draw, golden, molora, update, weigh

B, L, E, IN, R, OUT = 3, 4, 5, 6, 2, 7
SCALE = 0.5
# No task is the first or the last expert's, and one comes twice.
OF_ROWS = np.array([[2], [4], [2]], np.int32)
OF_TOKENS = np.array([[2, 2, 4, 4], [4, 2, 2, 2], [2, 2, 2, 2]], np.int32)
TASKS = {'of rows': OF_ROWS, 'of tokens': OF_TOKENS}

every_shape = pytest.mark.parametrize('task', TASKS.values(), ids=TASKS)


def pairs():
  return draw(E, IN, R, seed=1), draw(E, R, OUT, seed=2)


def close(got, want, tolerance=1e-6):
  assert np.abs(want).max() > 0.1
  np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# --- Experts of one task each.


@every_shape
def test_a_task_uses_its_own_expert_alone(task):
  router = routing.TaskRouter(num_experts=E)
  weights = weigh(router, {}, draw(B, L, IN), routing.Context(task=task))
  np.testing.assert_array_equal(weights, np.eye(E)[task - 1])
  assert router.num_tasks == E and router.needs == {'task'}


def test_at_padding_all_experts_are_alike():
  context = routing.Context(task=np.array([[1, 0]]))
  router = routing.TaskRouter(num_experts=E)
  weights = weigh(router, {}, draw(1, 2, IN), context)
  np.testing.assert_array_equal(weights[0, 0], np.eye(E)[0])
  np.testing.assert_allclose(weights[0, 1], [1 / E] * E, rtol=1e-6)


@every_shape
def test_molora_is_the_lora_of_each_task(task):
  x, y, (a, b) = draw(B, L, IN), draw(B, L, OUT, seed=3), pairs()
  context = routing.Context(task=task)
  lora = adapters.LoRA(SITE, rank=R, alpha=SCALE * R)
  alone = [
    lora.apply({'params': {'a': a[e], 'b': b[e]}}, x, y, context)
    for e in range(E)
  ]
  is_of = np.broadcast_to(np.eye(E)[task - 1], (B, L, E))
  want = np.einsum('ble,eblo->blo', is_of, np.asarray(alone))
  mixture = molora(a, routing.TaskRouter, SCALE)
  got = mixture.apply({'params': {'a': a, 'b': b}}, x, y, context)
  close(got, want)


@every_shape
@pytest.mark.parametrize('axes', [('mlp',), ('heads', 'kv')])
def test_mov_is_the_ia3_of_each_task(task, axes):
  site = adapters.Site('x', ('embed',), axes)
  shape = (2, 3)[: len(axes)]
  y, scale = draw(B, L, *shape), draw(E, *shape, seed=1)
  context = routing.Context(task=task)
  alone = [
    adapters.IA3(site).apply({'params': {'scale': scale[e]}}, y, y, context)
    for e in range(E)
  ]
  is_of = np.broadcast_to(np.eye(E)[task - 1], (B, L, E))
  want = np.einsum('ble,ebl...->bl...', is_of, np.asarray(alone))
  mixture = adapters.MoV(site, num_experts=E, router=routing.TaskRouter)
  close(mixture.apply({'params': {'scale': scale}}, y, y, context), want)


@every_shape
def test_experts_of_absent_tasks_get_no_gradient(task):
  x, y, (a, b) = draw(B, L, IN), draw(B, L, OUT, seed=3), pairs()
  mixture = molora(a, routing.TaskRouter, SCALE)
  vectors = adapters.MoV(SITE, num_experts=E, router=routing.TaskRouter)
  for adapter, params in (
    (mixture, {'a': a, 'b': b}),
    (vectors, {'scale': draw(E, OUT, seed=1)}),
  ):
    context = routing.Context(task=task)
    loss = lambda params, adapter=adapter, context=context: (
      adapter.apply({'params': params}, x, y, context) ** 2
    ).sum()
    for name, leaf in jax.grad(loss)(params).items():
      moved = np.abs(leaf).reshape(E, -1).max(-1)
      assert set(np.flatnonzero(moved)) == set(task.ravel() - 1), name
      assert moved.max() > 0.1


def test_padding_of_a_network_gives_no_gradient_to_absent_tasks():
  """At padding, whose task is 0, all experts would be used alike."""
  sites = {
    'key': functools.partial(
      adapters.MoV, num_experts=3, router=routing.TaskRouter
    ),
    'wo': functools.partial(
      adapters.MoLoRA, num_experts=3, rank=2, router=routing.TaskRouter
    ),
  }
  model = tiny.model(sites, layers=1)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32),
    model.abstract_variables()['params'],
  )
  batch = tiny.batch()
  of_rows = np.array([1, 3] * 4, np.int32)[:, None]
  for stream, tokens in (('encoder', 'input'), ('decoder', 'target')):
    is_token = batch[f'{stream}_{tokens}_tokens'] > 0
    assert not is_token.all()
    batch[f'{stream}_task_ids'] = np.where(is_token, of_rows, 0)
  trainable, base = parameters.split(params, parameters.TRAINABLE_ADAPTERS)
  gradients = jax.jit(
    jax.grad(
      lambda t: model.loss_fn(parameters.merge(t, base), batch)[0],
    )
  )(trainable)
  found = parameters.flatten(gradients)
  # The keys of three attentions, and the matrices of two MLPs.
  assert len(found) == 3 + 2 * 2
  for path, leaf in found.items():
    moved = np.abs(leaf).reshape(3, -1).max(-1)
    assert moved[1] == 0 and moved[0] > 0 and moved[2] > 0, path


def test_uniform_weights_are_one_lora_of_all_ranks():
  x, (a, b) = draw(B, L, IN), pairs()
  context = routing.Context()
  got = update(x, a, b, routing.UniformRouter, {}, context, SCALE)
  params = {
    'a': a.swapaxes(0, 1).reshape(IN, E * R),
    'b': b.reshape(E * R, OUT) / E,
  }
  lora = adapters.LoRA(SITE, rank=E * R, alpha=SCALE * E * R)
  zeros = np.zeros((B, L, OUT), np.float32)
  close(got, lora.apply({'params': params}, x, zeros, context), 1e-5)


# --- Experts that tasks share.


@functools.cache
def poly(splits):
  """PEFT's arrays as ours: x, a, b, skills, numbers of tasks; its results."""
  of_all = golden('peft_poly')
  name = f'splits_{splits}/'
  of = {k.removeprefix(name): x for k, x in of_all.items() if name in k}
  a, b = of['a'], of['b']
  S, E, size, R = a.shape
  assert S == splits
  a = a.swapaxes(0, 1).reshape(E, S * size, R)
  b = b.transpose(1, 2, 0, 3).reshape(E, R, -1)
  skills = of['module_logits'].reshape(-1, S, E)
  task = of_all['task_ids'][:, None] + 1
  return of_all['x'], a, b, skills, task, of['weights'], of['output']


every_split = pytest.mark.parametrize('splits', [1, 4])


def poly_router(skills):
  tasks, splits, _ = skills.shape
  return functools.partial(routing.PolyRouter, tasks=tasks, splits=splits)


@every_split
@pytest.mark.parametrize('per_token', [False, True])
def test_poly_is_peft_s(splits, per_token):
  x, a, b, skills, task, weights, output = poly(splits)
  assert task.max() > 1
  if per_token:
    task = np.repeat(task, x.shape[1], axis=1)
  router, context = poly_router(skills), routing.Context(task=task)
  leaves = {'skills': skills}
  got = weigh(router(num_experts=len(a)), leaves, x, context)
  want = weights if splits > 1 else weights[:, 0]
  want = np.broadcast_to(want[:, None], (*task.shape, *want.shape[1:]))
  np.testing.assert_allclose(got, want, atol=1e-5)
  got = update(x, a, b, router, leaves, context, 1 / a.shape[-1], averages=True)
  close(got, output, 1e-5)


@every_split
def test_each_token_is_routed_by_its_own_task(splits):
  """As in a packed row, whose every task stands here in a row of its own."""
  x, a, b, skills, task, *_ = poly(splits)
  router, leaves = poly_router(skills), {'skills': skills}
  apply = functools.partial(
    update, a=a, b=b, router=router, leaves=leaves, averages=True
  )
  alone = apply(x, context=routing.Context(task=task))
  packed = apply(
    x.reshape(1, -1, x.shape[-1]),
    context=routing.Context(task=np.repeat(task.T, x.shape[1], axis=1)),
  )
  close(packed.reshape(alone.shape), alone, 1e-5)


@every_split
def test_only_the_skills_of_the_tasks_in_a_batch_move(splits):
  x, a, b, skills, task, *_ = poly(splits)
  mixture = molora(a, poly_router(skills), averages=True)
  zeros = np.zeros((*x.shape[:2], b.shape[-1]), np.float32)

  def loss(skills):
    params = {'a': a, 'b': b, 'router': {'skills': skills}}
    context = routing.Context(task=task)
    return (mixture.apply({'params': params}, x, zeros, context) ** 2).sum()

  moved = np.abs(jax.grad(loss)(skills)).max((1, 2))
  assert set(np.flatnonzero(moved)) == set(task.ravel() - 1)


@pytest.mark.parametrize('fields', [{'tasks': 0}, {'splits': True}])
def test_numbers_of_poly_are_checked(fields):
  (name,) = fields
  macro = {'tasks': 'NUM_TASKS', 'splits': 'SPLITS'}[name]
  with pytest.raises(UserError, match=f'{macro} = .*whole number'):
    routing.PolyRouter(num_experts=2, **fields)


def test_splits_are_of_matrices_that_are_averaged_apart():
  a = draw(2, 4, 2)
  router = functools.partial(routing.PolyRouter, splits=2)
  with pytest.raises(UserError, match=r'SPLITS = 2 .*averages = True'):
    molora(a, router)
  with pytest.raises(UserError, match='PolyRouter routes pairs of matrices'):
    adapters.MoV(SITE, num_experts=2, router=router)
  router = functools.partial(routing.PolyRouter, splits=3)
  with pytest.raises(UserError, match='SPLITS = 3 does not divide the 4'):
    leaves = {'skills': draw(1, 3, 2)}
    context = routing.Context(task=np.ones((1, 1), np.int32))
    update(
      draw(1, 2, 4), a, draw(2, 2, 6), router, leaves, context, averages=True
    )
