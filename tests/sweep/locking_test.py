"""A folder is held by one sweep, and by the runs that it started."""

import subprocess

import pytest

from moe_lite.core.errors import UserError
from moe_lite.sweep.locking import locked


def test_two_sweeps_do_not_share_a_folder(tmp_path, capsys):
  with locked(str(tmp_path), 0.01):
    with pytest.raises(UserError, match='Another sweep, process'):
      with locked(str(tmp_path), 0.01):
        pass
  # A killed sweep's run holds its lock: it is waited for.
  with locked(str(tmp_path), 0.01) as lock:
    orphan = subprocess.Popen(['sleep', '0.5'], pass_fds=(lock,))
  (tmp_path / '.lock').write_text('999999999')
  with locked(str(tmp_path), 0.01):
    assert orphan.poll() is not None
  assert 'that an earlier call left behind' in capsys.readouterr().err
