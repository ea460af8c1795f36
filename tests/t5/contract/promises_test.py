"""A class that breaks a promise is told which one, and no other."""

import functools
import re

import pytest

from moe_lite.t5.contract import observing, promises
from tests.t5.contract import broken

# What breaks, and how it is said.
BREAKING = {
  broken.Started: (promises.IDENTITY, 'outputs change by up to 1'),
  broken.Misnamed: (promises.AXES, "shift: the logical axis 'bottleneck'"),
  broken.Resized: ('has the sizes', r"shift \[1\] has 1 along 'embed', .* 8"),
  broken.Halved: (promises.FLOAT32, 'shift is bfloat16'),
  broken.Widened: ('keeps the shape', r'returns float32\[2, 5, 8\]'),
  broken.Idle: ('learns every', 'zero or not finite for shift'),
  broken.Looking: ('computes each position', 'another one changes by'),
  broken.Undescribed: (promises.REBUILT, 'not JSON serializable'),
}


def names(results):
  return [result.promise.name for result in results if not result.is_kept]


@pytest.mark.parametrize('kind', BREAKING, ids=lambda kind: kind.__name__)
def test_the_broken_promise_is_named(kind):
  wanted, how = BREAKING[kind]
  results = promises.check(kind, [observing.SITES['wo']])
  (result,) = [result for result in results if result.broken]
  wanted = wanted if isinstance(wanted, str) else wanted.name
  assert result.promise.name.startswith(wanted)
  assert re.search(how, result.broken['wo'])
  assert names(results) == [result.promise.name]


def test_what_raises_is_said_with_its_line():
  runs, *others = promises.check(broken.Raising, [observing.SITES['wo']])
  assert 'RuntimeError: no such luck' in runs.broken['wo']
  assert not any(result.checked or result.is_kept for result in others)


def test_an_excused_promise_is_not_checked():
  site = observing.SITES['wo']
  assert not names(promises.check(broken.Started, [site], [promises.IDENTITY]))


def test_sites_are_those_that_the_class_fits():
  sites = observing.sites(broken.Fitting)
  assert list(sites) == ['out', 'wo']
  assert len(observing.one_of_each_shape(sites)) == 2
  everywhere = observing.sites(functools.partial(broken.Sized, size=3))
  found = observing.one_of_each_shape(everywhere)
  assert [site.name for site in found] == [
    *('query', 'out', 'wi_0', 'intermediate', 'wo')
  ]
