"""What follows from how data sets are routed, against figures by hand."""

import numpy as np
import pytest

from moe_lite.routing.statistics import Usage
from moe_lite.routing_report import numbers

KEY = 'encoder/layers_{}/attention/key'


def usage(*p, entropy=0.0, tokens=4.0):
  """Of mean probabilities and a mean entropy."""
  p = tokens * np.array(p)
  return Usage(p, p, p, tokens * entropy, tokens)


def routing(**datasets):
  """Data sets of one router, by their mean probabilities."""
  return {name: {KEY.format(0): usage(*p)} for name, p in datasets.items()}


def test_preferences_are_one_without_any():
  found = numbers.preferences(
    routing(a=(0.25,) * 4, b=(1, 0, 0, 0)), KEY.format(0)
  )
  np.testing.assert_allclose(found, [[1, 1, 1, 1], [4, 0, 0, 0]])


def test_entropies_tell_specialised_from_indifferent_routers():
  sure = usage(0.5, 0.5, entropy=0.0)
  indifferent = usage(0.5, 0.5, entropy=np.log(2))
  collapsed = usage(1.0, 0.0, entropy=0.0)
  router = KEY.format(3)
  rows = numbers.entropies(
    {'a': {router: sure}, 'b': {router: indifferent}, 'c': {router: collapsed}},
    ['c'],
  )
  assert [row['of_tokens'] for row in rows] == pytest.approx([0, 1, 0])
  assert [row['of_the_mean'] for row in rows] == pytest.approx([1, 1, 0])
  assert [row['held_out'] for row in rows] == [False, False, True]
  assert {row['layer'] for row in rows} == {3}


def test_one_expert_has_no_entropy():
  [row] = numbers.entropies({'a': {KEY.format(0): usage(1.0)}}, [])
  assert row['of_tokens'] == row['of_the_mean'] == 0


def test_divergence_is_in_bits():
  assert numbers.divergence(np.array([1, 0]), np.array([0, 1])) == 1
  p, q = np.array([0.9, 0.1]), np.array([0.4, 0.6])
  middle = (p + q) / 2
  want = sum(0.5 * (x * np.log2(x / middle)).sum() for x in (p, q))
  assert numbers.divergence(p, q) == pytest.approx(want)
  assert numbers.divergence(p, p) == 0


def test_data_sets_that_are_routed_alike_lie_together():
  found = routing(a=(0.9, 0.1), b=(0.1, 0.9), c=(0.88, 0.12), d=(0.1, 0.9))
  names, divergences, tree = numbers.similarities(found, {})
  assert {frozenset(names[:2]), frozenset(names[2:])} == {
    frozenset('ac'),
    frozenset('bd'),
  }
  a, b, d = (names.index(x) for x in 'abd')
  want = numbers.divergence(np.array([0.9, 0.1]), np.array([0.1, 0.9]))
  assert divergences[a, b] == divergences[b, a] == pytest.approx(want)
  assert divergences[b, d] == 0
  assert tree.shape == (3, 4)


def test_held_out_data_sets_are_held_against_what_training_ones_vary():
  found = routing(a=(0.5, 0.5, 0), b=(0.5, 0.5, 0), new=(0, 0, 1))
  [row] = numbers.shifts(found, ['a', 'b'], ['new'], {})
  assert row['held_out'] == pytest.approx(1)
  assert row['training'] == 0
  [row] = numbers.shifts(found, ['a'], ['new'], {})
  assert np.isnan(row['training'])


def test_two_halves_of_a_data_set_show_noise():
  first, second = routing(a=(1, 0), one=(1, 0)), routing(a=(0, 1))
  assert numbers.noise([first, second]) == {'a': {KEY.format(0): 1}}
  # Nothing is known of a single half.
  assert numbers.noise([first]) == {}
  whole = numbers.together([first, second])
  assert numbers.preferences(whole, KEY.format(0)).tolist() == [[1, 1], [2, 0]]
  assert whole['a'][KEY.format(0)].tokens == 8


def test_noise_stands_beside_divergences():
  found = routing(a=(0.9, 0.1), b=(0.1, 0.9))
  noise = {'a': {KEY.format(0): 0.25}}
  names, divergences, _ = numbers.similarities(found, noise)
  assert divergences[names.index('a')][names.index('a')] == 0.25
  assert np.isnan(divergences[names.index('b')][names.index('b')])
  [row] = numbers.shifts(found, ['a'], ['b'], noise)
  assert row['noise'] == 0.25
  [row] = numbers.shifts(found, ['a'], ['b'], {})
  assert np.isnan(row['noise'])
