"""A release: built, checked, installed by itself, and tried."""

import os
import subprocess

import pytest

from tests.paths import ROOT

# These download what the package needs, and take minutes.
pytestmark = pytest.mark.release


def test_one_command_builds_checks_and_tries_a_release(tmp_path):
  done = subprocess.run(
    ['bash', str(ROOT / 'launch' / 'release.sh')],
    # No checkout is on the path.
    cwd=tmp_path,
    env={**os.environ, 'DIST': str(tmp_path / 'dist')},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  names = sorted(path.name for path in (tmp_path / 'dist').iterdir())
  assert [name.partition('-')[0] for name in names] == ['moe_lite'] * 2
  assert names[0].endswith('.whl') and names[1].endswith('.tar.gz')
  for name in names:
    assert name in done.stdout.partition('Everything worked.')[2]
  assert 'twine upload' in done.stdout
