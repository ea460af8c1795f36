"""Fixtures that the tests of several modules of tasks share."""

import importlib
import shutil
import sys

import gin
import pytest
import seqio

from moe_lite.process import cli
from tasks import cache
from tasks.p3 import hub as p3_hub
from tasks.p3 import table
from tests.paths import ROOT
from tests.tasks import caches
from tests.tasks.p3 import copies, loopback_hub, rows, synthetic


@pytest.fixture(scope='module')
def tasks_to_cache(tmp_path_factory):
  """The folder of a module of tasks, which is registered."""
  folder = tmp_path_factory.mktemp('module')
  shutil.copy(ROOT / 'tests' / 'tasks' / f'{caches.MODULE}.py', folder)
  (folder / 'broken_tasks.py').write_text('import seqio\n\nundefined\n')
  sys.path.insert(0, str(folder))
  before = set(seqio.TaskRegistry.names())
  importlib.import_module(caches.MODULE)
  yield folder
  sys.path.remove(str(folder))
  del sys.modules[caches.MODULE]  # Another file's tests import it anew.
  for name in set(seqio.TaskRegistry.names()) - before:
    if name.startswith('cache_'):
      seqio.TaskRegistry.remove(name)
  seqio.MixtureRegistry.remove('cache_mixture')


@pytest.fixture
def own_cache_dirs():
  """Keeps the caches of a test, and what it binds, from other tests."""
  before = list(seqio.get_global_cache_dirs())
  gin.clear_config()
  yield
  gin.clear_config()
  seqio.set_global_cache_dirs(before)


@pytest.fixture
def run(tasks_to_cache, tmp_path, capsys):
  """Runs `tasks.cache` in this process: its exit code, what it printed."""

  def run(tasks, *arguments, workers=1):
    capsys.readouterr()
    argv = [
      'cache',
      *(f'--tasks={tasks}', f'--module_import={caches.MODULE}'),
      *(f'--out={tmp_path}', f'--workers={workers}', *arguments),
    ]
    code = cli.guard(cache.cache, argv, None)
    printed = capsys.readouterr()
    return code, printed.out + printed.err

  return run


@pytest.fixture(params=['tfrecord', 'tfrecord under data/', 'parquet'])
def copy(request, tmp_path):
  """A folder with a copy of P3 in each layout."""
  inner = tmp_path / 'data' if 'data' in request.param else tmp_path
  for name in copies.PUBLISHED:
    if request.param == 'parquet':
      for split in copies.ROWS:
        written = copies.written(name, split)
        synthetic.write_parquet(tmp_path, name, split, written, 2)
    else:
      rows.write_cache(inner, name, copies.ROWS)
  seqio.add_global_cache_dirs([str(tmp_path)])
  return tmp_path


@pytest.fixture(scope='module')
def repository(tmp_path_factory):
  """P3's repository: a task of each signature, with one split in two files."""
  root = tmp_path_factory.mktemp('repository')
  (root / 'README.md').write_text('P3')
  for task in (*copies.PUBLISHED, 'xsum_DOC_tldr'):
    train = copies.written(task, 'train')
    synthetic.write_parquet(root, task, 'train', train, 2)
    validation = copies.written(task, 'validation')
    synthetic.write_parquet(root, task, 'validation', validation)
  return root


@pytest.fixture
def hub(repository, monkeypatch):
  """A hub on this machine that serves P3's repository."""
  with loopback_hub.serve(repository, p3_hub.REPOSITORY) as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    yield hub


@pytest.fixture
def small_table(monkeypatch):
  """The table says as many rows as the repository has, and waits are short."""
  published = table.published_rows

  sizes = lambda task: copies.sizes(task) if published(task) else {}
  monkeypatch.setattr(table, 'published_rows', sizes)
  monkeypatch.setattr('time.sleep', lambda seconds: None)
