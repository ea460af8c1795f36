"""What libraries log, and what is not passed on."""

import pytest
from absl import logging

from moe_lite.checkpoints import runs
from moe_lite.core.errors import UserError
from moe_lite.core.logs import verbosity


def test_only_what_is_severe_is_logged_within_a_block(caplog):
  with verbosity(logging.WARNING):
    with verbosity(logging.ERROR):
      logging.warning('within')
      logging.error('severe')
    logging.warning('after')
  assert [x.message for x in caplog.records] == ['severe', 'after']


def test_reading_a_run_logs_nothing(tmp_path, caplog):
  (tmp_path / 'checkpoints').mkdir()
  with (
    verbosity(logging.WARNING),
    pytest.raises(UserError, match='no whole checkpoint yet'),
  ):
    runs.describe(str(tmp_path))
  assert not caplog.records
