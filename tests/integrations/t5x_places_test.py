"""Bases and runs of T5X in folders and in buckets, from beginning to export."""

import importlib.util
import json
import os

import gin
import pytest

from moe_lite.process import cli
from tests.checkpoints import bucket as bucket_server
from tests.checkpoints.t5x import native_test
from tests.paths import TINY_GIN

pytestmark = [
  pytest.mark.t5x,
  pytest.mark.filterwarnings('ignore'),
  pytest.mark.skipif(
    importlib.util.find_spec('t5x') is None,
    reason='needs T5X: bash launch/test_t5x.sh PYTHON',
  ),
]
# How a checkpoint says where an array lies, and whether base and run lie in a
# bucket.
ROWS = {
  'file': ('file', False, False),
  'gcs, copied here': ('gcs', False, False),
  'gfile': ('gfile', False, False),
  'an old one': ('old', False, False),
  'base in a bucket, file': ('file', True, False),
  'base in a bucket, gcs': ('gcs', True, False),
  'run in a bucket': ('file', False, True),
  'both in a bucket, file': ('file', True, True),
  'both in a bucket, gcs': ('gcs', True, True),
}
PLACES = {
  'file': lambda name: {
    'driver': 'zarr',
    'kvstore': {'driver': 'file', 'path': name},
  },
  'gcs': lambda name: {
    'driver': 'zarr',
    'kvstore': {'driver': 'gcs', 'bucket': 't5-data', 'path': f'x/{name}'},
  },
  'gfile': native_test.PLACES['relative'],
  'old': native_test.PLACES['at the top'],
}


@pytest.fixture(scope='module')
def cloud(tmp_path_factory):
  """The folder of a bucket, to which tensorstore is led in this process."""
  root = tmp_path_factory.mktemp('bucket')
  with bucket_server.serve(root) as (address, _):
    os.environ['TENSORSTORE_GCS_HTTP_URL'] = f'http://{address}'
    os.environ['GCE_METADATA_ROOT'] = address
    yield root


def run(kind, *bindings):
  from moe_lite.integrations import t5x_command

  file = {'train': 'finetune'}.get(kind, kind)
  argv = [
    't5x',
    kind,
    *(f'--gin_file={TINY_GIN}', '--gin_file=methods/mov.gin'),
    f'--gin_file=t5x/{file}.gin',
    *('--gin.NUM_EXPERTS=2', '--gin.BATCH_SIZE=4'),
    *(f'--gin.{binding}' for binding in bindings),
  ]
  try:
    return t5x_command.main(argv)
  finally:
    gin.clear_config()


@pytest.mark.parametrize('row', ROWS)
def test_from_the_beginning_to_the_export(row, cloud, tmp_path, monkeypatch):
  from tests.integrations import t5x_cloud

  t5x_cloud.lead_to(cloud, monkeypatch)
  driver, base_in_bucket, run_in_bucket = ROWS[row]
  name = row.replace(',', '').replace(' ', '_')
  folder = (cloud if base_in_bucket else tmp_path) / f'{name}_base'
  folder.mkdir()
  native_test.save(folder, place=PLACES[driver])
  address = f'gs://{bucket_server.NAME}'
  base = f'{address}/{name}_base' if base_in_bucket else str(folder)
  here = cloud if run_in_bucket else tmp_path
  trained = (
    f'{address}/{name}_run' if run_in_bucket else str(here / f'{name}_run')
  )

  on = f'INITIAL_CHECKPOINT_PATH={base!r}'
  train = (on, f'MODEL_DIR={trained!r}', 'SAVE_PERIOD=2', 'LOG_PERIOD=1')
  assert run('train', *train, 'TRAIN_STEPS=2') == 0
  assert run('train', *train, 'TRAIN_STEPS=4') == 0
  assert (here / f'{name}_run' / 'checkpoint_4').is_dir()
  of = (on, f'CHECKPOINT_PATH={trained + "/checkpoint_4"!r}')
  task = "MIXTURE_OR_TASK_NAME='tiny_measured'"
  out = tmp_path / 'out'
  assert run('eval', *of, task, f'EVAL_OUTPUT_DIR={str(out)!r}') == 0
  assert run('infer', *of, task, f'INFER_OUTPUT_DIR={str(out)!r}') == 0
  file = out / 'tiny_measured-predict.jsonl-00000-of-00001'
  assert all('prediction' in json.loads(x) for x in file.open())
  exported = str(tmp_path / 'exported')
  argv = ['convert', 'export', f'{trained}/checkpoint_4', f'--to={exported}']
  from moe_lite.convert import command

  assert cli.guard(command.convert, argv, '') == 0
