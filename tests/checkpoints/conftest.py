"""A bucket, and a run with checkpoints, for the tests of this folder."""

import os
import unittest.mock

import pytest

from moe_lite.checkpoints.run_checkpoints import Checkpoints
from tests import tiny
from tests.checkpoints import bucket as bucket_server
from tests.checkpoints.run_trees import rest, tree


@pytest.fixture(scope='session')
def bucket(tmp_path_factory):
  """Its folder on this machine, its address, and what was asked for.

  There is one for all tests: a process reads where buckets are once, before its
  first request.
  """
  root = tmp_path_factory.mktemp('bucket')
  with bucket_server.serve(root) as (address, asked):
    environment = {
      'TENSORSTORE_GCS_HTTP_URL': f'http://{address}',
      'GCE_METADATA_ROOT': address,
    }
    with unittest.mock.patch.dict(os.environ, environment):
      yield root, f'gs://{bucket_server.NAME}', asked


@pytest.fixture
def run(tmp_path):
  """A run folder with checkpoints at steps 1, 2 and 3, of which 2 are kept."""
  checkpoints = Checkpoints(str(tmp_path), keep=2)
  for step in (1, 2, 3):
    values = tree(float(step))
    position = {'shard_0_of_1': b'%d' % step}
    checkpoints.save(step, values, rest(values), position, tiny.DESCRIPTION)
  checkpoints.close()
  return tmp_path
