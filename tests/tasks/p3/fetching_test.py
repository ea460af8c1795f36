"""What is fetched of a task is checked against the table."""

import pytest

from tasks.p3 import table
from tests.tasks.p3 import copies, synthetic
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs', 'small_table')


def test_rows_are_checked_against_the_table(hub, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    table, 'published_rows', lambda task: {'train': 8, 'validation': 3}
  )
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 2
  assert f"{copies.TRAIN}: split 'train' has 7 rows, but 8 in the table" in said
  assert not (tmp_path / copies.TRAIN / 'COMPLETED').exists()


def test_splits_are_checked_against_the_table(
  hub, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(table, 'published_rows', lambda task: {'train': 7})
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 2 and "split 'validation' has 3 rows, but 0 in" in said
  rows = {'train': 7, 'validation': 3, 'test': 1}
  monkeypatch.setattr(table, 'published_rows', lambda task: rows)
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 2 and "repository has no split 'test'" in said


def test_an_empty_split_is_not_written(hub, tmp_path, capsys, monkeypatch):
  root = tmp_path / 'repository'
  synthetic.write_parquet(
    root, copies.TRAIN, 'train', copies.written(copies.TRAIN, 'train')
  )
  no_rows = copies.written(copies.TRAIN, 'train')[:0]
  synthetic.write_parquet(root, copies.TRAIN, 'validation', no_rows)
  monkeypatch.setattr(hub, 'root', root)
  monkeypatch.setattr(table, 'published_rows', lambda task: {'train': 7})
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 0, said
  found = {path.name for path in (tmp_path / copies.TRAIN).iterdir()}
  train = {'train.tfrecord-00000-of-00001', 'info.train.json'}
  assert found == {*train, 'stats.train.json', 'COMPLETED'}


@pytest.mark.parametrize(
  'change, says',
  [
    (lambda row: row.pop('targets'), "has no column 'targets'"),
    (lambda row: row.update(idx=[0, 0]), "column 'idx'"),
  ],
)
def test_columns_are_those_of_the_table(
  hub, tmp_path, capsys, monkeypatch, change, says
):
  monkeypatch.setattr(hub, 'root', tmp_path / 'repository')
  for split in copies.ROWS:
    rows = copies.written(copies.TRAIN, split)
    for row in rows:
      change(row)
    synthetic.write_parquet(hub.root, copies.TRAIN, split, rows)
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 2 and says in said


@pytest.mark.parametrize('damage', ['page', 'footer'])
def test_a_damaged_file_fails_its_task_and_is_fetched_again(
  hub, tmp_path, capsys, monkeypatch, damage
):
  """Its size is right, so that the client library takes it for whole."""
  name = f'{copies.FREE}/train-00000-of-00002.parquet'
  file = hub.root / name
  whole = file.read_bytes()
  bad = bytearray(whole)
  part = slice(4, len(bad) // 3) if damage == 'page' else slice(-20, None)
  bad[part] = bytes(len(bad[part]))
  file.write_bytes(bad)
  try:
    code, said = copies.fetch(tmp_path, capsys)
  finally:
    file.write_bytes(whole)
  assert code == 2 and '1 of 3 tasks are not there' in said
  assert f'{copies.FREE}: ' in said and name in said and 'Traceback' not in said
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 0, said


def test_somebody_s_copy_is_not_written_over(hub, tmp_path, capsys):
  p3_rows.write_cache(tmp_path, copies.TRAIN, copies.ROWS)
  folder = tmp_path / copies.TRAIN
  (folder / 'COMPLETED').unlink()
  before = {path: path.read_bytes() for path in folder.iterdir()}
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 2 and f'touch {folder}/COMPLETED' in said
  assert {path: path.read_bytes() for path in folder.iterdir()} == before
  assert not hub.requests
  # A whole one is taken for what it is.
  (folder / 'COMPLETED').write_text('')
  code, said = copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])
  assert code == 0 and '1 of 1 tasks are there already' in said
