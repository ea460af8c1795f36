"""Files are read alike from a folder and from a bucket."""

import pytest

from moe_lite.checkpoints import buckets
from moe_lite.core.errors import UserError


@pytest.fixture(params=['folder', 'bucket'])
def root(request, bucket, tmp_path):
  """The address of a folder with the files `here` and `here.too`."""
  folder, address = tmp_path, str(tmp_path)
  if request.param == 'bucket':
    folder, address, _ = bucket
  for name in ('here', 'here.too'):
    (folder / name).write_bytes(name.encode())
  return address


def test_what_is_there_is_read_and_what_is_not_is_none(root):
  assert buckets.read(f'{root}/here') == b'here'
  assert buckets.exists(f'{root}/here') and buckets.exists(f'{root}/here.too')
  assert buckets.read(f'{root}/her') is None
  assert not buckets.exists(f'{root}/her')


def test_what_may_not_be_read_is_one_message(bucket):
  _, address, _ = bucket
  for question in (buckets.read, buckets.exists):
    with pytest.raises(
      UserError, match='forbidden/x cannot be read: '
    ) as error:
      question(f'{address}/forbidden/x')
    assert 'tensorstore_spec' not in str(error.value)


def test_paths_are_named_to_tensorstore(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert buckets.spec('gs://b/c/d') == {
    'driver': 'gcs',
    'bucket': 'b',
    'path': 'c/d',
  }
  assert buckets.spec('c') == {'driver': 'file', 'path': str(tmp_path / 'c')}
  assert buckets.is_bucket('gs://b') and not buckets.is_bucket('/gs:/b')
