"""The adapters and routers that README shows keep their promises.

tests/authoring_test.py tests those of docs/authoring.md.
"""

import re

import pytest

from moe_lite import adapters, routing
from moe_lite.t5.contract import observing, promises, routers
from tests.paths import ROOT

README = (ROOT / 'README.md').read_text()
CLASS = re.compile(r'^class (\w+)\(', re.MULTILINE)
BLOCKS = {
  name: block
  for block in re.findall(r'```python\n(.*?)```', README, re.S)
  for name in CLASS.findall(block)
}


@pytest.mark.parametrize('name', BLOCKS)
def test_the_promises_are_kept(name):
  names = {}
  exec(BLOCKS[name], names)
  if issubclass(names[name], routing.BaseRouter):
    results = routers.alone(names[name])
  else:
    assert issubclass(names[name], adapters.Adapter)
    sites = [observing.SITES[at] for at in ('key', 'wo')]
    # A class that is made by `exec` belongs to no module to be built from.
    results = promises.check(names[name], sites, [promises.REBUILT])
  for result in results:
    assert result.is_kept, (result.promise.name, result.broken)


def test_there_is_an_example():
  assert BLOCKS
