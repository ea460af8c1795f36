"""P3 is found where it lies, and a spoilt copy is named with its remedy."""

import pytest
import seqio

from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.data import batches
from moe_lite.data import dataset as data
from moe_lite.data.caches import file_name
from tasks import cached
from tasks.p3 import source
from tests.tasks.p3 import copies, synthetic
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


def test_absent_p3_says_which_command_fetches_it_and_how_large_it_is():
  with pytest.raises(UserError, match='none were given') as caught:
    copies.read(copies.TRAIN)
  message = str(caught.value)
  assert 'python -m tasks.fetch_p3 --mixture=t0_train --out=DIR' in message
  assert '313 tasks, 102,864,371 rows' in message
  assert '--seqio_additional_cache_dirs=DIR' in message
  with pytest.raises(UserError, match='--mixture=t0_eval_score_eval'):
    copies.read(copies.TWIN)


def test_a_task_that_was_never_published_says_so():
  with pytest.raises(UserError, match='never published'):
    copies.read('wino_bias_type1_anti_by_p_they_mean', 'test')


def test_a_missing_task_is_named(copy):
  name = 'ag_news_classify'
  with pytest.raises(UserError, match=f"'{name}' is not in.*{copy}.*fetch_p3"):
    copies.read(name)


@pytest.mark.parametrize(
  'how',
  [
    'COMPLETED is lost',
    'the split has no rows',
    'the split is missing',
    'info is damaged',
    'a file is missing',
    'a file is empty',
    'the folder is empty',
    'a file is cut short',
  ],
)
def test_a_spoilt_copy_is_named_with_its_remedy(tmp_path, how):
  says = copies.damage(tmp_path, how)
  seqio.add_global_cache_dirs([str(tmp_path)])
  with pytest.raises(UserError, match=says) as caught:
    copies.read(copies.TRAIN)
  message = str(caught.value)
  assert copies.TRAIN in message and str(tmp_path / copies.TRAIN) in message


def test_a_file_cut_short_is_named_before_training(tmp_path):
  says = copies.damage(tmp_path, 'a file is cut short')
  seqio.add_global_cache_dirs([str(tmp_path)])
  dataset = data.Dataset(copies.TRAIN, copies.LENGTHS, batch_size=4)
  with pytest.raises(UserError, match=says):
    batches.Batches(dataset, partitioning.make_mesh(), seed=0)


def test_a_whole_copy_is_taken_before_a_part(tmp_path):
  for name in ('part', 'whole'):
    p3_rows.write_cache(tmp_path / name, copies.TRAIN, {'train': 7})
  (tmp_path / 'part' / copies.TRAIN / 'COMPLETED').unlink()
  seqio.add_global_cache_dirs([str(tmp_path / n) for n in ('part', 'whole')])
  (file,) = seqio.TaskRegistry.get(copies.TRAIN).source.list_shards('train')
  assert file.startswith(str(tmp_path / 'whole'))


def test_an_empty_file_of_several_is_damage(tmp_path):
  folder = tmp_path / copies.TRAIN
  folder.mkdir()
  rows = p3_rows.rows(copies.TRAIN, 'train', 4)
  stats = [
    cached.write_shard(folder, 'train', rows[i::2], i, 2) for i in range(2)
  ]
  spec = cached.features(source.signature(copies.TRAIN))
  cached.finish_split(folder, 'train', spec, stats)
  cached.complete(folder)
  seqio.add_global_cache_dirs([str(tmp_path)])
  assert len(copies.read(copies.TRAIN)) == 4
  (folder / file_name('train', 1, 2)).write_bytes(b'')
  with pytest.raises(
    UserError, match='has an empty file, train.tfrecord-00001'
  ):
    copies.read(copies.TRAIN)


def test_a_copy_of_the_data_set_viewer_is_read(tmp_path):
  folder = tmp_path / copies.TRAIN
  for split in copies.ROWS:
    written = copies.written(copies.TRAIN, split)
    synthetic.write_parquet(tmp_path, copies.TRAIN, split, written, 2)
    (folder / split).mkdir()
    for i, path in enumerate(sorted(folder.glob(f'{split}-*.parquet'))):
      path.rename(folder / split / f'{i:04d}.parquet')
  seqio.add_global_cache_dirs([str(tmp_path)])
  found = copies.read(copies.TRAIN)
  wanted = p3_rows.rows(copies.TRAIN, 'train', copies.ROWS['train'])
  assert [r['inputs'].tolist() for r in found] == [
    r['inputs'].tolist() for r in wanted
  ]
  with pytest.raises(UserError, match="'test'.* only train, validation"):
    copies.read(copies.TRAIN, 'test')
  (folder / 'train' / '0000.parquet').unlink()
  with pytest.raises(UserError, match='lacks train/0000.parquet'):
    copies.read(copies.TRAIN)
