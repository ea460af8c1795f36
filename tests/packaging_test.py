"""The wheel carries what a run needs, and nothing else of the checkout."""

import ast
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml

from moe_lite.core.version import VERSION
from tests.paths import ROOT

PACKAGED = ('moe_lite', 'tasks')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The path of a wheel that is built from a copy of the sources."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  source.mkdir()
  ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
  for name in (*PACKAGED, 'gin'):
    shutil.copytree(ROOT / name, source / name, ignore=ignore)
  for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source / name)
  subprocess.run(
    [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps']
    + ['--no-build-isolation', '--wheel-dir', str(folder), str(source)],
    check=True,
  )
  (path,) = folder.glob('*.whl')
  return path


def files(folder: pathlib.Path) -> set[str]:
  """Every file of a folder, caches left out, relative to it."""
  return {
    path.relative_to(folder).as_posix()
    for path in folder.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }


def test_the_wheel_holds_packages_data_and_gin(wheel):
  wanted = {f'moe_lite/gin_files/{path}' for path in files(ROOT / 'gin')}
  wanted = {path for path in wanted if path.endswith('.gin')}
  for package in PACKAGED:
    wanted |= {f'{package}/{path}' for path in files(ROOT / package)}
  with zipfile.ZipFile(wheel) as archive:
    held = set(archive.namelist())
  held = {path for path in held if '.dist-info/' not in path}
  assert held == wanted


def test_the_wheel_names_its_licence_and_dependencies(wheel):
  with zipfile.ZipFile(wheel) as archive:
    (metadata,) = (n for n in archive.namelist() if n.endswith('/METADATA'))
    text = archive.read(metadata).decode()
  assert 'Apache-2.0' in text
  for dependency in ('jax', 'flax', 'optax', 'seqio'):
    assert f'Requires-Dist: {dependency}' in text
  assert 'Requires-Dist: t5' not in text


def test_the_sdist_holds_what_git_knows(tmp_path):
  listed = ['git', '-C', str(ROOT), 'ls-files', '-z']
  done = subprocess.run(listed, capture_output=True, text=True)
  if done.returncode:
    pytest.skip('the tests are not in a git repository')
  # Files of git and of continuous integration are of no use outside.
  tracked = {x for x in done.stdout.split('\0') if x and x[0] != '.'}
  source = tmp_path / 'source'
  for name in tracked:
    if (ROOT / name).exists():  # It may have been removed since.
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / name, source / name)
  subprocess.run(
    [sys.executable, 'setup.py', '--quiet', 'sdist', f'--dist-dir={tmp_path}'],
    cwd=source,
    check=True,
    capture_output=True,
  )
  (path,) = tmp_path.glob('*.tar.gz')
  with tarfile.open(path) as archive:
    held = {x.name.partition('/')[2] for x in archive if x.isfile()}
  made = {x for x in held if x in ('PKG-INFO', 'setup.cfg') or 'egg-info/' in x}
  assert held - made == {x for x in tracked if (ROOT / x).exists()}


def test_citation_and_changelog_name_the_version():
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  wanted = {'cff-version', 'message', 'title', 'authors', 'version', 'type'}
  assert citation.keys() >= wanted and citation['cff-version'] == '1.2.0'
  assert citation['version'] == VERSION
  section = f'## {VERSION} - {citation["date-released"]}'
  assert section in (ROOT / 'CHANGELOG.md').read_text().splitlines()
  (paper,) = citation['references']
  assert paper['url'] == 'https://arxiv.org/abs/2309.05444'
  assert paper['url'] in (ROOT / 'README.md').read_text()


def test_every_import_is_a_dependency():
  """What the packages import is named in setup.py, not merely there."""
  distributions = importlib.metadata.packages_distributions()
  named = {
    canonical(re.split(r'[<>=\[ ]', requirement)[0])
    for requirement in dependencies()
  }
  for package in PACKAGED:
    for path in (ROOT / package).rglob('*.py'):
      for module in third_party_imports(path):
        names = {
          canonical(name) for name in distributions.get(module, [module])
        }
        assert names & named, f'{path} imports {module}: not in setup.py.'


def canonical(name: str) -> str:
  return name.lower().replace('_', '-')


def dependencies() -> list[str]:
  """DEPENDENCIES and EXTRAS of setup.py, without running it."""
  tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
  values = {
    node.targets[0].id: ast.literal_eval(node.value)
    for node in tree.body
    if isinstance(node, ast.Assign)
    and node.targets[0].id in ('DEPENDENCIES', 'EXTRAS')
  }
  extras = [name for extra in values['EXTRAS'].values() for name in extra]
  return values['DEPENDENCIES'] + extras


def third_party_imports(path: pathlib.Path) -> set[str]:
  modules = set()
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      modules |= {alias.name.split('.')[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      modules.add(node.module.split('.')[0])
  return modules - set(sys.stdlib_module_names) - set(PACKAGED) - {'t5x'}


def test_the_wheel_finds_its_gin_files_without_a_checkout(wheel, tmp_path):
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(tmp_path / 'site')
  code = (
    'from moe_lite.process import gin_paths\n'
    'print(gin_paths.__file__)\n'
    'print(gin_paths.folder())'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  module, folder = done.stdout.split()
  site = tmp_path / 'site' / 'moe_lite'
  assert module == str(site / 'process' / 'gin_paths.py')
  assert folder == str(site / 'gin_files')
  assert files(site / 'gin_files') == {
    path for path in files(ROOT / 'gin') if path.endswith('.gin')
  }
