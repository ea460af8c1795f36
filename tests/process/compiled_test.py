"""Programs are kept from one start to the next."""

import os
import subprocess
import sys

import jax
import pytest

from moe_lite.process import compiled
from tests import permissions

NAMES = (
  'jax_compilation_cache_dir',
  'jax_compilation_cache_max_size',
  'jax_persistent_cache_min_compile_time_secs',
)
# Compiles a program, and prints how often JAX found one that was kept.
PROGRAM = """
import jax
from moe_lite.process import compiled
from tests import permissions

found = 0

def count(event, **_):
  global found
  found += event.endswith('/cache_hits')

jax.monitoring.register_event_listener(count)
compiled.keep()
jax.jit(lambda x: jax.numpy.linalg.svd(x @ x)[1])(jax.numpy.ones((64, 64)))
print(found)
"""


@pytest.fixture
def unset(monkeypatch, tmp_path):
  """JAX as if nobody had told it where to keep programs."""
  before = {name: getattr(jax.config, name) for name in NAMES}
  jax.config.update('jax_compilation_cache_dir', None)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  yield tmp_path
  for name, value in before.items():
    jax.config.update(name, value)


def test_programs_go_to_the_cache_of_the_user(unset):
  compiled.keep()
  place = jax.config.jax_compilation_cache_dir
  assert place == str(compiled.folder()) and os.path.isdir(place)
  assert place.startswith(str(unset / 'moe_lite' / 'compiled'))
  assert jax.config.jax_compilation_cache_max_size == 2**32


def test_what_the_user_said_goes_first(unset):
  jax.config.update('jax_compilation_cache_dir', '/of/the/user')
  compiled.keep()
  assert jax.config.jax_compilation_cache_dir == '/of/the/user'


def test_a_cache_that_cannot_be_made_is_done_without(unset, monkeypatch):
  (unset / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(unset / 'file'))
  compiled.keep()
  assert jax.config.jax_compilation_cache_dir is None


def test_a_second_start_finds_what_the_first_compiled(tmp_path):
  environment = {
    name: value
    for name, value in os.environ.items()
    if name != 'JAX_COMPILATION_CACHE_DIR'
  }
  environment |= {
    'XDG_CACHE_HOME': str(tmp_path),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  with permissions.follow_the_umask(tmp_path):
    found = [
      int(
        subprocess.run(
          [sys.executable, '-c', PROGRAM],
          env=environment,
          check=True,
          capture_output=True,
          text=True,
        ).stdout
      )
      for _ in range(2)
    ]
  assert found[0] == 0 and found[1] > 0
