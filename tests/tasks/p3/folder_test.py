"""P3 is found where it lies, and a spoilt copy is named with its remedy."""

import re

import numpy as np
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
  assert 'elete' not in message


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


def write_as_viewer(folder, task, files=2):
  """Writes a task as the data set viewer does: a folder for each split."""
  for split in copies.ROWS:
    written = copies.written(task, split)
    synthetic.write_parquet(folder, task, split, written, files)
    (folder / task / split).mkdir()
    parts = sorted((folder / task).glob(f'{split}-*.parquet'))
    for i, path in enumerate(parts):
      path.rename(folder / task / split / f'{i:04d}.parquet')
  seqio.add_global_cache_dirs([str(folder)])
  return folder / task


@pytest.mark.parametrize('name', copies.PUBLISHED)
@pytest.mark.parametrize('files', [1, 3])
def test_a_copy_of_the_data_set_viewer_is_read(tmp_path, name, files):
  write_as_viewer(tmp_path, name, files)
  for split in copies.ROWS:
    found = copies.read(name, split)
    wanted = copies.written(name, split)
    assert len(found) == len(wanted)
    for one, row in zip(found, wanted, strict=True):
      for key in one:
        value = row[key].encode() if isinstance(row[key], str) else row[key]
        if key == 'answer_choices':
          value = [choice.encode() for choice in value]
        np.testing.assert_array_equal(one[key], value, key)


def test_a_copy_of_the_data_set_viewer_that_lacks_something(tmp_path):
  folder = write_as_viewer(tmp_path, copies.TRAIN)
  with pytest.raises(UserError, match="'test'.* only train, validation"):
    copies.read(copies.TRAIN, 'test')
  (folder / 'train' / '0000.parquet').unlink()
  with pytest.raises(UserError, match='lacks train/0000.parquet'):
    copies.read(copies.TRAIN)


def test_the_first_part_of_a_split_is_not_taken_for_the_split(tmp_path):
  folder = write_as_viewer(tmp_path, copies.TRAIN)
  (folder / 'train').rename(folder / 'partial-train')
  with pytest.raises(UserError, match='partial-train.*only the first part'):
    copies.read(copies.TRAIN)
  assert len(copies.read(copies.TRAIN, 'validation')) == 3


def test_fewer_rows_than_were_published_are_told(tmp_path, capsys):
  """The viewer does not say how many files there are."""
  folder = write_as_viewer(tmp_path, copies.TWIN)
  (folder / 'validation' / '0001.parquet').unlink()
  copies.read(copies.TWIN, 'validation')
  said = capsys.readouterr().err
  assert re.search(rf"{copies.TWIN}'.* 5 of the 168 rows .*'validation'", said)


def test_a_layout_that_is_not_known_is_kept_and_told(tmp_path):
  folder = tmp_path / copies.TRAIN
  folder.mkdir()
  (folder / 'train.arrow').write_bytes(b'rows')
  seqio.add_global_cache_dirs([str(tmp_path)])
  with pytest.raises(UserError) as caught:
    copies.read(copies.TRAIN)
  message = str(caught.value)
  assert 'train.arrow' in message and 'train/0000.parquet' in message
  assert 'elete' not in message
  assert (folder / 'train.arrow').exists()
