"""The files and tables of docs/authoring.md agree with the code.

tests/docs_test.py runs its commands.
"""

import importlib
import re
import sys

import pytest

from moe_lite import routing
from moe_lite.core import logical_axes
from moe_lite.core.errors import UserError
from moe_lite.t5.contract import observing, promises, routers
from tests import tiny
from tests.core import unknown_axes_test
from tests.paths import ROOT

PAGE = (ROOT / 'docs' / 'authoring.md').read_text()
FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", re.M | re.S)


@pytest.fixture
def package(tmp_path, monkeypatch):
  """The modules of the page, by their names."""
  monkeypatch.syspath_prepend(str(tmp_path))
  (tmp_path / 'my_package').mkdir()
  for name, text in FILE.findall(PAGE):
    (tmp_path / name).write_text(text)
  names = ('shift', 'bottleneck', 'sharp')
  yield {name: importlib.import_module(f'my_package.{name}') for name in names}
  for name in [x for x in sys.modules if x.partition('.')[0] == 'my_package']:
    del sys.modules[name]


def rows(title):
  """The cells of the table below a heading or a text."""
  after = PAGE[PAGE.index(title) :]
  table = re.search(r'(?:^\|.*\n)+', after, re.M)
  assert table
  lines = table[0].splitlines()[2:]
  return [[cell.strip(' `') for cell in x.split('|')[1:-1]] for x in lines]


def said(text):
  """Whether the page prints a text, however its lines are broken."""
  return ' '.join(text.split()) in ' '.join(PAGE.split())


def test_the_adapters_keep_their_promises(package):
  for made, sites in (
    (package['shift'].Shift, ('key', 'wo')),
    (package['bottleneck'].Bottleneck, ('out',)),
  ):
    at = [observing.SITES[name] for name in sites]
    for result in promises.check(made, at):
      assert result.is_kept, (result.promise.name, result.broken)


def test_the_router_keeps_its_promises(package):
  for result in routers.alone(package['sharp'].Sharp):
    assert result.is_kept, (result.promise.name, result.broken)


def test_a_site_that_does_not_fit_is_refused(package):
  bottleneck = package['bottleneck'].Bottleneck
  tiny.model({'out': bottleneck, 'wo': bottleneck})
  with pytest.raises(UserError, match="at 'key', where it cannot") as error:
    tiny.model({'key': bottleneck})
  assert said(str(error.value))


def test_the_table_of_axes_is_that_of_the_code():
  table = {axis: mesh or None for axis, _, mesh in rows('## Logical axes')}
  rules = dict(logical_axes.RULES)
  assert table == {name: rules[name] for name in logical_axes.OF_PARAMETERS}


def test_the_message_for_an_unknown_axis_is_printed(package, monkeypatch):
  monkeypatch.setattr(unknown_axes_test.Unknown, 'axis', 'bottleneck')
  with pytest.raises(UserError) as error:
    unknown_axes_test.lay_out(unknown_axes_test.Unknown, False)
  assert said(str(error.value).replace('/shift', '/down'))


def test_the_table_of_the_context_is_that_of_the_code():
  fields = [name for name, _, _ in rows('`context` is for routers')]
  assert fields == list(routing.Context.__dataclass_fields__)
