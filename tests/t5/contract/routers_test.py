"""A router that breaks a promise is told which one."""

import re

import pytest

from moe_lite.t5.contract import routers
from tests.t5.contract import broken

BREAKING = {
  broken.Unnormalised: ('returns finite weights', 'a sum is'),
  broken.Silent: ('sows the statistics', 'does not sow entropy, first'),
  broken.Transposed: ('returns float32 weights', r'the shape \[2, 3, 5'),
}


@pytest.mark.parametrize('kind', BREAKING, ids=lambda kind: kind.__name__)
def test_the_broken_promise_is_named(kind):
  wanted, how = BREAKING[kind]
  found = [result for result in routers.alone(kind) if result.broken]
  results = [x for x in found if x.promise.name.startswith(wanted)]
  assert results and re.search(how, results[0].broken['vectors']), found


@pytest.mark.parametrize('kind', [broken.Sharp, broken.Said])
def test_all_promises_are_kept(kind):
  assert all(result.is_kept for result in routers.alone(kind))
