"""A spoilt copy in parquet files is named."""

import pytest
import seqio

from moe_lite.core.errors import UserError
from tests.tasks.p3 import copies, synthetic
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


@pytest.mark.parametrize('how', ['a file is missing', 'a file is cut short'])
def test_a_spoilt_parquet_copy_is_named(tmp_path, how):
  rows = p3_rows.rows(copies.TRAIN, 'train', 7)
  synthetic.write_parquet(tmp_path, copies.TRAIN, 'train', rows, 2)
  seqio.add_global_cache_dirs([str(tmp_path)])
  file = tmp_path / copies.TRAIN / 'train-00001-of-00002.parquet'
  if how == 'a file is missing':
    file.unlink()
  else:
    file.write_bytes(file.read_bytes()[:-20])
  with pytest.raises(UserError, match=copies.TRAIN):
    copies.read(copies.TRAIN)
