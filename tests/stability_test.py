"""What docs/reference/stability.md calls stable exists."""

import importlib
import re

import pytest

from moe_lite.checkpoints import description
from tests.paths import ROOT

PAGE = (ROOT / 'docs' / 'reference' / 'stability.md').read_text()
# The folders of `moe_lite.training` and `moe_lite.models` in which gin finds
# the functions of these names.
WITHIN = {
  'optimizers': 'training.optimizers',
  'loggers': 'training.loggers',
  'decoding': 'models.decoding',
}


def row(what):
  """The names that a row of the page quotes."""
  (line,) = re.findall(rf'^\| {what} \| (.*) \|$', PAGE, re.M)
  return re.findall('`([^`]+)`', line)


@pytest.mark.parametrize('name', row('names that gin files bind'))
def test_a_name_that_gin_binds_exists(name):
  folder, _, name = name.partition('.')
  module = importlib.import_module(f'moe_lite.{WITHIN.get(folder, folder)}')
  assert not name or hasattr(module, name)


def test_commands_exist():
  first, *names, fetch, cache = row('commands')
  assert first == 'python -m moe_lite.'
  for name in names:
    place = ROOT / 'moe_lite' / name
    assert place.with_suffix('.py').exists() or (place / '__main__.py').exists()
  assert fetch == 'python -m tasks.fetch_p3' and cache == 'tasks.cache'


def test_folders_of_gin_files_exist():
  folders = row('gin files')
  assert len(folders) == 8
  assert all((ROOT / 'gin' / folder).is_dir() for folder in folders)


def test_packages_have_public_names():
  load, _, first, *others = row('Python')
  assert load == 'moe_lite.load' and first == 'moe_lite.adapters'
  for name in ('adapters', *others):
    assert importlib.import_module(f'moe_lite.{name}').__all__


def test_the_number_of_the_format_is_that_of_the_code():
  (line,) = re.findall(r'^\| checkpoints of a run.*\| (\d+) \|$', PAGE, re.M)
  assert int(line) == description.VERSION
