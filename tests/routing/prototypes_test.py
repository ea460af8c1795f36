"""Routers by prototypes: mttl's Arrow, PHATGOOSE's gates, and SpectR."""

import functools

import numpy as np
import pytest
import scipy.special

from moe_lite import adapters, routing
from moe_lite.core.errors import UserError
from tests.adapters.mixing import SITE, draw, golden, update, weigh

ARROW_CASES = {
  'all': {},
  'all_root_d': {'temperature': 16**0.5},
  'top_2': {'k': 2},
  'top_3_half': {'k': 3, 'temperature': 0.5},
}
every_case = pytest.mark.parametrize('case', ARROW_CASES)
# The columns of `b` are fewer than its rows in the second.
SHAPES = [(6, 3, 5), (6, 4, 2)]


@functools.cache
def arrow():
  return golden('mttl_arrow')


@functools.cache
def phatgoose():
  return golden('phatgoose_router')


def close(got, want, tolerance=1e-5):
  assert np.abs(want).max() > 0.1
  np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# --- Arrow.


def derived(router, a, b):
  """What a router computes of experts."""
  return router(num_experts=len(a)).derived({'a': a, 'b': b})


def test_arrow_s_prototypes_are_mttl_s_up_to_their_sign():
  of = arrow()
  (name,) = routing.ArrowRouter.prototypes
  found = derived(routing.ArrowRouter, of['a'], of['b'])[name]
  assert found.dtype == np.float32
  signs = np.sign((found * of['prototypes']).sum(-1, keepdims=True))
  close(found * signs, of['prototypes'])


def test_an_expert_that_does_nothing_has_no_direction():
  a, b = draw(2, 6, 3), draw(2, 3, 5)
  b[1] = 0
  found = derived(routing.ArrowRouter, a, b)['prototypes']
  np.testing.assert_allclose(np.square(found).sum(-1), [1, 0], rtol=1e-5)


@every_case
def test_arrow_weighs_as_mttl_does(case):
  of, fields = arrow(), ARROW_CASES[case]
  router = routing.ArrowRouter(num_experts=len(of['a']), **fields)
  leaves = derived(routing.ArrowRouter, of['a'], of['b'])
  got = weigh(router, leaves, of['x'])
  close(got, of[f'{case}/weights'])
  assert ((got > 0).sum(-1) == fields.get('k', len(of['a']))).all()


@every_case
@pytest.mark.parametrize('averages', [False, True])
def test_arrow_mixes_outputs_or_parameters_as_mttl_does(case, averages):
  of = arrow()
  router = functools.partial(routing.ArrowRouter, **ARROW_CASES[case])
  leaves = derived(routing.ArrowRouter, of['a'], of['b'])
  got = update(of['x'], of['a'], of['b'], router, leaves, averages=averages)
  close(got, of[f'{case}/mean_of_{"parameters" if averages else "outputs"}'])


# --- SpectR.


@pytest.mark.parametrize(('IN', 'R', 'OUT'), SHAPES)
def test_spectr_scores_by_the_length_of_each_update(IN, R, OUT):
  x, a, b = draw(2, 3, IN), draw(4, IN, R, seed=1), draw(4, R, OUT, seed=2)
  lengths = np.linalg.norm(np.einsum('bli,eir,ero->bleo', x, a, b), axis=-1)
  router = functools.partial(routing.SpectrRouter, rank=R)
  leaves = derived(router, a, b)
  assert leaves['projections'].shape == (4, IN, R)
  projected = np.einsum('bli,eir->bler', x, leaves['projections'])
  close(np.linalg.norm(projected, axis=-1), lengths)
  # Differences of scores are all that a softmax keeps.
  weights = weigh(router(num_experts=4, temperature=2.0), leaves, x)
  close(weights, scipy.special.softmax(lengths / 2, -1))
  kept = weigh(router(num_experts=4, k=1), leaves, x)
  np.testing.assert_array_equal(kept.argmax(-1), lengths.argmax(-1))
  np.testing.assert_allclose(kept.max(-1), 1)


# --- PHATGOOSE.


def test_phatgoose_weighs_as_its_released_code_does():
  of = phatgoose()
  E = len(of['v'])
  leaves = {'gates': of['v']}
  every = weigh(routing.PhatgooseRouter(num_experts=E), leaves, of['x'])
  close(every, of['weights'])
  least = np.sort(of['weights'])[..., -2:-1]
  want = np.where(of['weights'] >= least, of['weights'], 0)
  want /= want.sum(-1, keepdims=True)
  router = routing.PhatgooseRouter(num_experts=E, k=2)
  close(weigh(router, leaves, of['x']), want)


def test_phatgoose_s_output_is_its_released_code_s():
  of = phatgoose()
  router = functools.partial(routing.PhatgooseRouter, k=2)
  scale, leaves = 1 / of['a'].shape[-1], {'gates': of['v']}
  got = update(of['x'], of['a'], of['b'], router, leaves, scale=scale)
  close(got, of['output'])


def test_a_gate_trains_as_in_its_released_code():
  of = phatgoose()
  router = functools.partial(routing.GateRouter, by_task=False)
  assert router(num_experts=1).needs == frozenset()
  scale, leaves = 1 / of['a'].shape[-1], {'gates': of['v'][:1]}
  got = update(of['x'], of['a'][:1], of['b'][:1], router, leaves, scale=scale)
  close(got, of['gated_output'])


@pytest.mark.parametrize(
  'task', [[[3], [1]], [[3, 3, 1, 1, 0], [2, 6, 6, 6, 6]]]
)
def test_gates_train_together_each_on_its_own_task(task):
  of, context = phatgoose(), routing.Context(task=np.array(task))
  E, leaves = len(of['v']), {'gates': of['v']}
  router = routing.GateRouter(num_experts=E)
  assert router.needs == {'task'} and router.num_tasks == E
  got = weigh(router, leaves, of['x'], context)
  gates = scipy.special.expit(np.einsum('bld,ed->ble', of['x'], of['v']))
  is_of = np.arange(1, E + 1) == np.array(task)[..., None]
  want = np.where(is_of, gates, 0)
  np.testing.assert_array_equal(got[want == 0], 0)
  close(got, want)
  every = np.einsum('bld,edr,ero->bleo', of['x'], of['a'], of['b'])
  close(
    update(
      of['x'], of['a'], of['b'], routing.GateRouter, leaves, context, 0.25
    ),
    np.einsum('ble,bleo->blo', want, every) / 4,
  )


def test_a_gate_without_training_is_no_prototype():
  with pytest.raises(UserError, match='gates that are trained'):
    derived(routing.PhatgooseRouter, draw(2, 6, 3), draw(2, 3, 5))


# --- Mistakes.


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'k': 4}, 'TOP_K = 4'),
    ({'k': 0}, 'TOP_K = 0'),
    ({'k': True}, 'TOP_K = True'),
    ({'temperature': 0}, 'ROUTER_TEMPERATURE = 0'),
  ],
)
@pytest.mark.parametrize(
  'router',
  [routing.ArrowRouter, routing.SpectrRouter, routing.PhatgooseRouter],
)
def test_values_out_of_range_are_refused(router, fields, message):
  with pytest.raises(UserError, match=message):
    router(num_experts=3, **fields)


def test_gates_do_not_sum_to_one_and_suit_no_vectors():
  with pytest.raises(UserError, match='GateRouter do not sum to one'):
    adapters.MoLoRA(SITE, router=routing.GateRouter, averages=True)
  with pytest.raises(UserError, match='ArrowRouter routes pairs of matrices'):
    adapters.MoV(SITE, router=routing.ArrowRouter)
