"""One expert begins from the experts of a mixture."""

import functools

import numpy as np
import pytest

from moe_lite import adapters
from moe_lite.adapters import merging
from moe_lite.adapters.merged import Merging, merged
from moe_lite.core.errors import UserError
from moe_lite.t5.config import ATTENTION_SITES

E, IN, R, OUT = 3, 6, 2, 8
SITE = ATTENTION_SITES['key']
LORA = adapters.LoRA(site=SITE, rank=2, alpha=3.0)
MOLORA = adapters.MoLoRA(site=SITE, num_experts=E, rank=R, alpha=4.0)
IA3 = adapters.IA3(site=SITE)
MOV = adapters.MoV(site=SITE, num_experts=E)


def draw(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def begin(adapter, source, params, how):
  return merged(adapter, source, params, how, how.random())


def test_the_mean_of_vectors_is_that_of_the_mixture():
  scale = draw(E, 2, 4)
  weights = [0.5, 0.25, 0.25]
  made = begin(IA3, MOV, {'scale': scale}, Merging(weights=weights))
  np.testing.assert_allclose(
    made['scale'], np.tensordot(weights, scale, 1), rtol=1e-5
  )


@pytest.mark.parametrize('method', merging.METHODS)
def test_pairs_keep_the_scale_of_their_updates(method):
  a, b = draw(E, IN, R), draw(E, R, OUT)
  whole = adapters.LoRA(site=SITE, rank=IN, alpha=3.0)
  how = Merging(method, seed=1)
  made = begin(whole, MOLORA, {'a': a, 'b': b}, how)
  wanted = merging.merge(
    2.0 * (a @ b), method=method, seed=np.random.default_rng(1)
  )
  np.testing.assert_allclose(
    made['a'] @ made['b'] * 3.0 / IN, wanted, atol=1e-4
  )


def test_sites_of_one_shape_draw_apart():
  how = Merging('dare_linear', density=0.5)
  random = how.random()
  params = {'scale': draw(E, 2, 4)}
  one, other = (
    merged(IA3, MOV, params, how, random)['scale'] for _ in range(2)
  )
  assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
  'adapter, source', [(IA3, MOLORA), (LORA, MOV), (LORA, IA3)]
)
def test_other_pairs_of_methods_are_refused(adapter, source):
  with pytest.raises(UserError, match='MERGE makes'):
    begin(adapter, source, {}, Merging())


def test_an_unknown_method_names_the_nearest():
  with pytest.raises(UserError, match="Did you mean 'ties'"):
    Merging('tise')
  with pytest.raises(UserError, match='density'):
    begin(IA3, MOV, {'scale': draw(E, 2, 4)}, Merging('mean', density=0.5))


def test_one_expert_is_not_begun_from_several_without_asking():
  with pytest.raises(UserError, match='cannot begin'):
    functools.partial(LORA.begin_from, MOLORA)({})
