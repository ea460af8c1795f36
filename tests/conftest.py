"""Options and environment shared by all tests."""

import atexit
import os
import pathlib
import shutil
import tempfile

from tests.devices import QUICKLY_COMPILED

# Set before anything imports JAX: tests must not depend on an accelerator.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('XLA_FLAGS', QUICKLY_COMPILED)


def keep_programs():
  """Has JAX compile each program once, here and in processes started here.

  What is kept is gone after the tests, unless JAX_COMPILATION_CACHE_DIR says
  where to keep it. Each worker of pytest-xdist has a folder of its own, since
  JAX may read an entry that another process is still writing.
  """
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    folder = tempfile.mkdtemp(prefix='moe_lite_tests_')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ['JAX_COMPILATION_CACHE_DIR'] = folder
  if worker := os.environ.get('PYTEST_XDIST_WORKER'):
    folder = os.path.join(os.environ['JAX_COMPILATION_CACHE_DIR'], worker)
    os.environ['JAX_COMPILATION_CACHE_DIR'] = folder
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')


keep_programs()


def keep_nothing_of_the_user():
  """Has the package remember nothing from one run of the tests to the next."""
  folder = tempfile.mkdtemp(prefix='moe_lite_tests_')
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  os.environ['XDG_CACHE_HOME'] = folder


keep_nothing_of_the_user()

# These files take longest, and start first, so that no worker is left with one
# of them at the end.
LONGEST = (
  'training/mesh_test.py',
  'commands_test.py',
  't5/network_test.py',
  'gin_test.py',
  'training/loop_test.py',
  't5/golden_test.py',
  'training/train_step_test.py',
  'adapters/contract_test.py',
  'preflight/command_test.py',
  't5/sentence_feature_test.py',
  'earlier_test.py',
  'data/batches_test.py',
  'evaluation/validation_test.py',
  'training/warm_start_test.py',
  'sweep/running_test.py',
)


def pytest_collection_modifyitems(items):
  here = pathlib.Path(__file__).parent

  def place(item):
    name = item.path.relative_to(here).as_posix()
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)

  items.sort(key=place)
