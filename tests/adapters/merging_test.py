"""Merging keeps the numbers of its papers, and a mean is the mixture's."""

import numpy as np
import pytest

from moe_lite import routing
from moe_lite.adapters import LoRA, MoLoRA, Site, merging
from moe_lite.core.errors import UserError
from tests.paths import ROOT

E, IN, OUT, R = 3, 7, 5, 2
SPARSE = ('magnitude_prune', 'ties', 'dare_linear', 'dare_ties')
SCALE = 8.0


def deltas(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pairs():
  return deltas(E, IN, R, seed=1), deltas(E, R, OUT, seed=2)


# --- Arrays.


def test_a_mean_divides_by_the_weights_and_task_arithmetic_does_not():
  x, w = deltas(E, 4, 2), [1.0, 2.0, 5.0]
  total = x[0] + 2 * x[1] + 5 * x[2]
  np.testing.assert_allclose(
    merging.merge(x, w, 'task_arithmetic'), total, rtol=1e-5
  )
  np.testing.assert_allclose(merging.merge(x, w), total / 8, rtol=1e-5)
  np.testing.assert_allclose(merging.merge(x), x.mean(0), rtol=1e-5)


# Two experts of six numbers, of which density 0.5 keeps three.
BY_HAND = np.array(
  [[5.0, -4.0, 3.0, 1.0, 0.5, 0.0], [1.0, 6.0, 2.0, -3.0, 0.5, 0.0]]
)


@pytest.mark.parametrize(
  'method, majority_sign, expected',
  [
    ('magnitude_prune', 'total', [5, 2, 5, -3, 0, 0]),
    # The second column elects plus, so that only the 6 counts.
    ('ties', 'total', [5, 6, 2.5, -3, 0, 0]),
    ('ties', 'frequency', [5, 6, 2.5, -3, 0, 0]),
  ],
)
def test_ties_by_hand(method, majority_sign, expected):
  merged = merging.merge(
    BY_HAND, None, method, density=0.5, majority_sign=majority_sign
  )
  np.testing.assert_array_equal(merged, expected)


def test_a_sign_is_elected_by_size_or_by_number():
  x = np.array([[-5.0], [1.0], [2.0]])
  by_size = merging.merge(x, None, 'ties', density=1.0)
  by_number = merging.merge(
    x, None, 'ties', density=1.0, majority_sign='frequency'
  )
  assert by_size == [-5] and by_number == [1.5]


def test_weights_come_after_the_election_and_do_not_divide():
  x = np.array([[-5.0], [1.0], [2.0]])
  # A weighted election would be won by plus.
  merged = merging.merge(x, [0.1, 10, 10], 'ties', density=1.0)
  np.testing.assert_allclose(merged, [-0.5])
  merged = merging.merge(x[1:], [3.0, 5.0], 'ties', density=1.0)
  np.testing.assert_allclose(merged, [(3 + 10) / 2])


def test_trimming_keeps_the_largest_of_a_whole_leaf():
  x = deltas(4, 25)
  kept = merging.trim(x, 0.29)
  assert np.count_nonzero(kept) == int(0.29 * 100) == 28
  assert np.abs(kept[kept != 0]).min() >= np.abs(x[kept == 0]).max()
  np.testing.assert_array_equal(kept[kept != 0], x[kept != 0])


def test_dropping_keeps_the_expected_value():
  x = np.ones((200, 200), np.float32)
  kept = merging.drop(x, 0.25, np.random.default_rng(3))
  assert set(np.unique(kept)) == {0.0, 4.0}
  assert abs(kept.mean() - 1) < 0.03


@pytest.mark.parametrize('method', ['dare_linear', 'dare_ties'])
def test_draws_are_seeded_and_differ_between_experts(method):
  x = np.ones((E, 1000), np.float32)
  one, same, other = (
    merging.merge(x, None, method, density=0.5, seed=seed) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
  # Under one mask for all experts no sum would lie in between.
  sums = merging.merge(x, None, 'dare_linear', density=0.5)
  assert set(np.unique(sums)) == {0.0, 2.0, 4.0, 6.0}
  # A generator goes on, so that leaves of one shape are drawn apart.
  random = np.random.default_rng(1)
  first, second = (
    merging.merge(x, None, method, density=0.5, seed=random) for _ in range(2)
  )
  np.testing.assert_array_equal(first, one)
  assert (first != second).any()


@pytest.mark.parametrize('method', merging.METHODS)
def test_one_expert_at_full_density_stays_as_it_is(method):
  density = 1.0 if method in SPARSE else None
  x = deltas(1, 3, 4)
  merged = merging.merge(x, [1.0], method, density)
  np.testing.assert_allclose(merged, x[0], rtol=1e-6)
  assert merged.dtype == np.float32


@pytest.mark.parametrize('method', SPARSE)
def test_the_density_of_the_paper_is_the_default(method):
  x = deltas(1, 5000)
  share = np.count_nonzero(merging.merge(x, None, method)) / x.size
  assert abs(share - merging.METHODS[method].density) < 0.02


@pytest.mark.parametrize(
  'options, message',
  [
    ({'method': 'tie'}, "Did you mean 'ties'"),
    ({'majority_sign': 'sum'}, "'total', 'frequency'"),
    ({'method': 'ties', 'density': 0.0}, 'above 0 and at most 1'),
    ({'method': 'ties', 'density': 1.5}, 'above 0 and at most 1'),
    ({'method': 'ties', 'density': float('nan')}, 'above 0 and at most 1'),
    ({'method': 'ties', 'density': 0.01}, 'keeps none of the 8 numbers'),
    ({'method': 'mean', 'density': 0.5}, 'keeps every number'),
    ({'weights': [1.0, 2.0]}, r'shape \(2,\) for 3 experts'),
    ({'weights': [1.0, -2.0, 1.0]}, 'add up to 0'),
  ],
)
def test_mistakes(options, message):
  with pytest.raises(UserError, match=message):
    merging.merge(deltas(E, 4, 2), **options)


# --- Numbers of PEFT's own code.

GOLDEN = ROOT / 'tests' / 'golden' / 'library' / 'peft_merge.npz'


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as file:
    return dict(file)


class Replay(np.random.Generator):
  """Draws what keeps the numbers of recorded masks, one mask an expert."""

  def __init__(self, masks):
    super().__init__(np.random.PCG64(0))
    self.masks = iter(masks)

  def random(self, size=None, dtype=np.float64, out=None):
    return np.where(next(self.masks), 0.0, 0.999)


def test_task_arithmetic_is_that_of_peft(golden):
  merged = merging.merge(
    golden['tensors'], golden['weights'], 'task_arithmetic'
  )
  np.testing.assert_allclose(merged, golden['task_arithmetic'], atol=1e-6)


@pytest.mark.parametrize('density', [0.2, 0.55])
@pytest.mark.parametrize('method', SPARSE)
@pytest.mark.parametrize('majority_sign', merging.MAJORITY_SIGNS)
def test_sparse_methods_are_those_of_peft(
  golden, density, method, majority_sign
):
  place = f'density_{density}/{method}'
  if method.endswith('ties'):
    place += f'_{majority_sign}'
  seed = 0
  if method.startswith('dare'):
    seed = Replay(golden[f'{place}_mask'])
  x, w = golden['tensors'], golden['weights']
  merged = merging.merge(x, w, method, density, majority_sign, seed)
  np.testing.assert_allclose(merged, golden[place], atol=1e-6)
  trimmed = np.stack([merging.trim(leaf, density) for leaf in x])
  np.testing.assert_array_equal(trimmed, golden[f'density_{density}/pruned'])


# --- Vectors.


@pytest.mark.parametrize('method', merging.METHODS)
def test_vectors_are_merged_as_differences_from_one(method):
  scales = 1 + deltas(E, 4, 10)
  merged = merging.merged_vectors(scales, method=method)
  expected = 1 + merging.merge(scales - 1, method=method)
  np.testing.assert_allclose(merged, expected, rtol=1e-6)
  # What adapts nothing is merged into what adapts nothing.
  ones = merging.merged_vectors(np.ones((E, 4, 10)), method=method)
  np.testing.assert_array_equal(ones, 1)


# --- Pairs.


def test_a_mean_at_a_rank_of_all_is_the_mixture_at_uniform_weights():
  a, b = pairs()
  site = Site('query', ('embed',), ('heads',))
  x = deltas(2, 6, IN, seed=3)
  outputs = deltas(2, 6, OUT, seed=4)
  context = routing.Context()
  mixture = MoLoRA(
    site=site,
    num_experts=E,
    rank=R,
    alpha=SCALE * R,
    router=routing.UniformRouter,
  )
  expected = mixture.apply({'params': {'a': a, 'b': b}}, x, outputs, context)
  merged_a, merged_b = merging.merged_pairs(a, b, SCALE, rank=E * R)
  single = LoRA(site=site, rank=E * R, alpha=float(E * R))
  leaves = {'a': merged_a, 'b': merged_b}
  got = single.apply({'params': leaves}, x, outputs, context)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('method', merging.METHODS)
@pytest.mark.parametrize('weights', [None, [0.5, 1.0, -0.25]])
def test_products_are_merged_as_matrices(method, weights):
  a, b = pairs()
  expected = merging.merge(SCALE * (a @ b), weights, method)
  full = min(IN, OUT)
  got_a, got_b = merging.merged_pairs(a, b, SCALE, full, weights, method)
  assert got_a.shape == (IN, full) and got_b.shape == (full, OUT)
  np.testing.assert_allclose(got_a @ got_b, expected, rtol=1e-4, atol=1e-4)
  # A smaller rank is as near as the singular values allow.
  got_a, got_b = merging.merged_pairs(a, b, SCALE, 1, weights, method)
  rest = np.linalg.svd(expected, compute_uv=False)[1:]
  error = np.linalg.norm(got_a @ got_b - expected)
  np.testing.assert_allclose(error, np.linalg.norm(rest), rtol=1e-3, atol=1e-5)


def test_a_mean_of_factors_is_not_a_mean_of_products():
  a, b = pairs()
  got_a, got_b = merging.merged_pairs(a, b, SCALE, on='factors')
  np.testing.assert_allclose(
    got_a @ got_b, SCALE * a.mean(0) @ b.mean(0), rtol=1e-4, atol=1e-5
  )
  product = SCALE * (a @ b).mean(0)
  assert np.abs(got_a @ got_b - product).max() > 0.1 * np.abs(product).max()


@pytest.mark.parametrize('on', merging.PAIRS)
@pytest.mark.parametrize('method', ['mean', 'ties'])
def test_equal_experts_stay_what_they_are(on, method):
  a, b = (np.stack([x[0]] * E) for x in pairs())
  density = 1.0 if method == 'ties' else None
  got_a, got_b = merging.merged_pairs(
    a, b, SCALE, method=method, density=density, on=on
  )
  np.testing.assert_allclose(
    got_a @ got_b, SCALE * a[0] @ b[0], rtol=1e-4, atol=1e-4
  )


def test_factors_share_the_weight_and_one_takes_its_sign():
  a, b = pairs()
  got_a, got_b = merging.merged_pairs(
    a, b, SCALE, None, [0, 0, -0.5], 'task_arithmetic', on='factors'
  )
  np.testing.assert_allclose(got_a, -2 * a[2], rtol=1e-6)
  np.testing.assert_allclose(got_b, 2 * b[2], rtol=1e-6)


@pytest.mark.parametrize('on', merging.PAIRS)
@pytest.mark.parametrize('method', merging.METHODS)
def test_a_pair_can_be_meant_for_another_scale(on, method):
  a, b = pairs()
  before_a, before_b = merging.merged_pairs(a, b, SCALE, method=method, on=on)
  after_a, after_b = merging.merged_pairs(
    a, b, SCALE, method=method, on=on, scale_after=4.0
  )
  np.testing.assert_allclose(
    4 * after_a @ after_b, before_a @ before_b, rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize(
  'options, message',
  [
    ({'on': 'products'}, "Did you mean 'product'"),
    ({'rank': 0}, 'at least 1'),
    ({'rank': R + 1, 'on': 'factors'}, f'the experts, {R}'),
    ({'scale_after': 0.0}, 'above 0'),
    ({'method': 'mean', 'density': 0.5}, 'keeps every number'),
    ({'weights': [1.0]}, 'for 3 experts'),
  ],
)
def test_mistakes_in_pairs(options, message):
  a, b = pairs()
  with pytest.raises(UserError, match=message):
    merging.merged_pairs(a, b, SCALE, **options)
