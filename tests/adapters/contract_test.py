"""What every adapter promises, at every site, with every router.

An author outside this package can run it on an adapter of their own:

  pytest tests/adapters/contract_test.py --adapter=their.module:TheirAdapter
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import logical_axes, parameters, partitioning
from moe_lite.t5.config import ATTENTION_SITES, mlp_sites

B, L, D, H, K, F = 2, 3, 8, 2, 4, 12
SIZES = {'embed': D, 'heads': H, 'kv': K, 'joined_kv': H * K, 'mlp': F}
SITES = {**ATTENTION_SITES, **mlp_sites(2)}
# One site of every shape; the others have the axes of one of these.
SHAPES = ('key', 'intermediate', 'wo')
ROUTERS = {
  'soft': routing.SoftRouter,
  'top_1': functools.partial(routing.TopKRouter, k=1),
  'top_2': functools.partial(routing.TopKRouter, k=2),
}
# They differ from those above in what they read or draw alone, so that one
# adapter of each kind does.
MORE_ROUTERS = {
  'tempered': functools.partial(
    routing.TopKRouter, temperature=0.5, dropout=0.5, expert_dropout=0.5
  ),
  'uniform': routing.UniformRouter,
  'hash': routing.HashRouter,
  'sentence': functools.partial(routing.SoftRouter, sentence='inputs'),
  'feature': functools.partial(
    routing.SoftRouter, sentence='feature', sentence_size=D
  ),
  'shared': routing.SharedRouter,
  'task': routing.TaskRouter,
  'poly': functools.partial(routing.PolyRouter, tasks=2),
  'smear': routing.SmearRouter,
}
# They route pairs of matrices alone.
PAIR_ROUTERS = {
  'arrow': functools.partial(routing.ArrowRouter, k=2),
  'spectr': functools.partial(routing.SpectrRouter, rank=2, k=2),
  'gates': routing.GateRouter,
  'phatgoose': functools.partial(routing.PhatgooseRouter, k=2),
}
AVERAGED = {
  'poly': MORE_ROUTERS['poly'],
  'mhr': functools.partial(routing.PolyRouter, tasks=2, splits=2),
  'smear': MORE_ROUTERS['smear'],
  'soft': routing.SoftRouter,
}
ADAPTERS = {
  'ia3': adapters.IA3,
  'lora': functools.partial(adapters.LoRA, rank=2),
  **{
    f'{name}_{router}_{reads}': functools.partial(
      cls, num_experts=3, router=ROUTERS[router], router_reads=reads
    )
    for name, cls in (('mov', adapters.MoV), ('molora', adapters.MoLoRA))
    for router in ROUTERS
    for reads in ('inputs', 'outputs')
  },
  **{
    f'{name}_{router}': functools.partial(
      cls, num_experts=3, router=MORE_ROUTERS[router]
    )
    for name, cls in (('mov', adapters.MoV), ('molora', adapters.MoLoRA))
    for router in MORE_ROUTERS
  },
  **{
    f'molora_{name}': functools.partial(
      adapters.MoLoRA, num_experts=3, rank=2, router=router
    )
    for name, router in PAIR_ROUTERS.items()
  },
  **{
    f'averaged_{name}': functools.partial(
      adapters.MoLoRA, num_experts=3, rank=2, router=router, averages=True
    )
    for name, router in AVERAGED.items()
  },
}


def tensors(site, dtype=jnp.float32):
  rng = np.random.default_rng(0)
  draw = lambda axes: jnp.asarray(
    rng.normal(size=(B, L, *(SIZES[axis] for axis in axes))), dtype
  )
  mask = jnp.asarray([[True] * L, [True] + [False] * (L - 1)])
  tokens = jnp.asarray(rng.integers(1, 99, (B, L)), jnp.int32)
  sentence = jnp.asarray(rng.normal(size=(B, 1, D)), dtype)
  shared = jax.nn.softmax(jnp.asarray(rng.normal(size=(B, L, 3)), jnp.float32))
  context = routing.Context(
    mask,
    tokens,
    sentence,
    sentence,
    sentence,
    task=jnp.asarray([[1, 2, 3], [2, 0, 0]]),
    example=mask[:, None],
    shared=shared,
  )
  return draw(site.in_axes), draw(site.out_axes), context


@pytest.mark.parametrize('site', SHAPES)
def test_names_the_axes_of_every_parameter(adapter_factory, site):
  adapter = adapter_factory(site=SITES[site], name='adapter')
  variables = jax.eval_shape(
    adapter.init, jax.random.key(0), *tensors(SITES[site])
  )
  axes = parameters.flatten(partitioning.axis_names(variables['params_axes']))
  params = parameters.flatten(variables['params'])
  assert axes.keys() == params.keys()
  for path, leaf in params.items():
    assert leaf.dtype == jnp.float32
    assert len(axes[path]) == leaf.ndim, path
    for axis, size in zip(axes[path], leaf.shape, strict=True):
      assert axis in logical_axes.OF_PARAMETERS, path
      if axis not in ('expert', 'rank', 'task', 'split'):
        assert size == SIZES[axis], (path, axis)


@pytest.mark.parametrize('site', SHAPES)
def test_keeps_shape_and_dtype(adapter_factory, site):
  adapter = adapter_factory(site=SITES[site], name='adapter')
  inputs, outputs, context = tensors(SITES[site], jnp.bfloat16)
  adapted, _ = jax.eval_shape(
    adapter.init_with_output, jax.random.key(0), inputs, outputs, context
  )
  assert adapted.shape == outputs.shape
  assert adapted.dtype == jnp.bfloat16


@pytest.mark.parametrize('site', SHAPES)
def test_starts_as_the_identity_and_learns_everywhere(adapter_factory, site):
  adapter = adapter_factory(site=SITES[site], name='adapter')
  inputs, outputs, context = tensors(SITES[site])

  def squares(params):
    adapted = adapter.apply({'params': params}, inputs, outputs, context)
    return jnp.sum(jnp.square(adapted))

  # One program for everything: compilation is what these tests cost.
  @jax.jit
  def run(key):
    adapted, variables = adapter.init_with_output(key, inputs, outputs, context)
    params = variables['params']
    # Away from the initial values, at which some gradients are zero by design
    # (of LoRA's a, while b is zero; of routers, while experts are equal).
    leaves, structure = jax.tree.flatten(params)
    noise = [0.3 * jax.random.normal(key, leaf.shape) for leaf in leaves]
    moved = jax.tree.map(jnp.add, params, jax.tree.unflatten(structure, noise))
    return adapted, jax.grad(squares)(moved)

  adapted, gradients = run(jax.random.key(0))
  np.testing.assert_array_equal(adapted, outputs)
  for path, gradient in parameters.flatten(gradients).items():
    assert np.abs(gradient).max() > 1e-6, path


@pytest.mark.parametrize('name', ['ia3', 'lora', 'mov_soft_outputs'])
def test_jit_changes_nothing(name):
  adapter = ADAPTERS[name](site=SITES['key'], name='adapter')
  args = tensors(SITES['key'])
  eager, variables = adapter.init_with_output(jax.random.key(0), *args)
  np.testing.assert_array_equal(eager, args[1])
  params = {'params': variables['params']}
  np.testing.assert_array_equal(jax.jit(adapter.apply)(params, *args), eager)
