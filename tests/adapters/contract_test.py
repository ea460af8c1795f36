"""What every adapter promises, at every site, with every router.

`python -m moe_lite.t5.contract` checks the same of a class of anybody's.
"""

import functools

import jax
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.t5.contract import observing, promises, routers

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
    routing.SoftRouter, sentence='feature', sentence_size=observing.D
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


@pytest.mark.parametrize('site', SHAPES)
@pytest.mark.parametrize('name', ADAPTERS)
def test_keeps_every_promise(name, site):
  for result in promises.check(ADAPTERS[name], [observing.SITES[site]]):
    assert result.is_kept, (result.promise.name, result.broken)


@pytest.mark.parametrize('name', ROUTERS | MORE_ROUTERS | PAIR_ROUTERS)
def test_a_router_keeps_every_promise_alone(name):
  for result in routers.alone((ROUTERS | MORE_ROUTERS | PAIR_ROUTERS)[name]):
    assert result.is_kept, (result.promise.name, result.broken)


@pytest.mark.parametrize('name', ['ia3', 'lora', 'mov_soft_outputs'])
def test_jit_changes_nothing(name):
  site = observing.SITES['key']
  adapter = ADAPTERS[name](site=site, name='adapter')
  args = observing.tensors(site)
  eager, variables = adapter.init_with_output(jax.random.key(0), *args)
  np.testing.assert_array_equal(eager, args[1])
  params = {'params': variables['params']}
  np.testing.assert_array_equal(jax.jit(adapter.apply)(params, *args), eager)
