"""P3 is fetched from a hub on this machine, faults and all."""

import types

import numpy as np
import pytest
import seqio

from moe_lite import cli, data
from tasks import fetch_p3, p3_hub, p3_table
from tests.tasks import hub as hubs
from tests.tasks import p3_rows, synthetic_p3
from tests.tasks.p3_source_test import FREE, PUBLISHED, TRAIN, TWIN, folders

assert folders  # A fixture: restores SeqIO's folders.

ROWS = {'train': 7, 'validation': 3}


def written(task, split):
  return p3_rows.rows(task, split, ROWS[split])


@pytest.fixture(scope='module')
def repository(tmp_path_factory):
  """A repository with a task of each signature, one split in two files."""
  root = tmp_path_factory.mktemp('repository')
  (root / 'README.md').write_text('P3')
  for task in (*PUBLISHED, 'xsum_DOC_tldr'):
    synthetic_p3.write_parquet(root, task, 'train', written(task, 'train'), 2)
    rows = written(task, 'validation')
    synthetic_p3.write_parquet(root, task, 'validation', rows)
  return root


@pytest.fixture
def hub(repository, monkeypatch):
  with hubs.serve(repository, p3_hub.REPOSITORY) as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    yield hub


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """The table says as many rows as the repository has, and waits are short."""
  published = p3_table.published_rows

  def rows(task):
    return {s: len(written(task, s)) for s in ROWS} if published(task) else {}

  monkeypatch.setattr(p3_table, 'published_rows', rows)
  monkeypatch.setattr('time.sleep', lambda seconds: None)


def fetch(tmp_path, capsys, *flags, tasks=PUBLISHED):
  argv = ['fetch_p3', f'--out={tmp_path}', '--workers=0', *flags]
  if tasks:
    argv.append(f'--tasks={",".join(tasks)}')
  code = cli.guard(fetch_p3.fetch, argv, fetch_p3.__doc__)
  printed = capsys.readouterr()
  return code, printed.out + printed.err


@pytest.mark.parametrize('num_shards', [1, 3])
def test_what_is_fetched_is_what_stock_seqio_reads(
  hub, tmp_path, capsys, num_shards
):
  code, said = fetch(tmp_path, capsys, f'--num_shards={num_shards}')
  assert code == 0, said
  assert f'--seqio_additional_cache_dirs={tmp_path}' in said
  seqio.add_global_cache_dirs([str(tmp_path)])
  for name in PUBLISHED:
    task = seqio.TaskRegistry.get(name)
    for split in ROWS:
      assert task.get_cached_stats(split)['examples'] == len(
        written(name, split)
      )
      found = list(
        task.get_dataset(
          None, split, use_cached=True, shuffle=False
        ).as_numpy_iterator()
      )
      key = lambda row: (
        tuple(row.get('idx', ())),
        row['inputs'].tobytes(),
        row['targets'].tobytes(),
      )
      rows = sorted(written(name, split), key=key)
      for one, row in zip(sorted(found, key=key), rows, strict=True):
        assert one.keys() == row.keys()
        for column, value in row.items():
          if isinstance(value, str):
            assert one[column].decode() == value
          elif column == 'answer_choices':
            assert [x.decode() for x in one[column]] == value
          else:
            np.testing.assert_array_equal(one[column], value)
  assert not list((tmp_path / '.fetch').rglob('*.parquet'))


@pytest.mark.parametrize(
  'faults', [['cut'], ['cut', 'cut'], [429], [500, 429], ['wrong size']]
)
def test_a_passing_fault_is_survived(hub, tmp_path, capsys, faults):
  hub.faults[f'{TRAIN}/train-00001-of-00002.parquet'] += faults
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  if faults == ['wrong size'] and code:  # Refused, and the next call mends it.
    assert 'train-00001' in said
    code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 0, said
  seqio.add_global_cache_dirs([str(tmp_path)])
  lengths = {'inputs': 64, 'targets': 16}
  rows = data.read(seqio.TaskRegistry.get(TRAIN), 'train', lengths)
  assert len(rows) == ROWS['train']


@pytest.mark.parametrize('fault', ['cut', 404, 500])
def test_a_lasting_fault_leaves_the_others_and_the_next_call_goes_on(
  hub, tmp_path, capsys, fault
):
  file = f'{FREE}/validation-00000-of-00001.parquet'
  hub.faults[file] += [fault] * 50
  code, said = fetch(tmp_path, capsys)
  assert code == 2
  assert f'1 of 3 tasks are not there:\n  {FREE}: {file} cannot be down' in said
  assert 'The same command tries them again' in said
  hub.faults.clear()
  hub.requests.clear()
  code, said = fetch(tmp_path, capsys)
  assert code == 0 and '2 of 3 tasks are there already' in said
  # What was whole is not fetched again, not even of the task that failed.
  assert hub.downloads() == [file]


def test_a_folder_keeps_its_commit(hub, tmp_path, capsys):
  assert fetch(tmp_path, capsys, tasks=[TRAIN])[0] == 0
  hub.commits['main'] = 'd' * 40
  hub.commits['other'] = 'e' * 40
  code, said = fetch(tmp_path, capsys)
  assert code == 0 and f'Commit {hubs.COMMIT}' in said
  code, said = fetch(tmp_path, capsys, '--revision=other')
  assert code == 2
  assert f'revision main (commit {hubs.COMMIT}), not --revision=other' in said


def test_a_dry_run_tells_sizes_and_writes_nothing(hub, tmp_path, capsys):
  out = tmp_path / 'out'
  code, said = fetch(out, capsys, '--dry_run')
  assert code == 0
  assert '3 tasks, 9 files' in said and 'to download' in said
  assert all(f'MB  {task}' in said for task in PUBLISHED)
  assert not out.exists() and not hub.requests


def test_rows_are_checked_against_the_table(hub, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    p3_table, 'published_rows', lambda task: {'train': 8, 'validation': 3}
  )
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2
  assert f"{TRAIN}: split 'train' has 7 rows, but 8 in the table" in said
  assert not (tmp_path / TRAIN / 'COMPLETED').exists()


def test_a_split_that_the_table_lacks_is_told(
  hub, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(p3_table, 'published_rows', lambda task: {'train': 7})
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2 and 'has splits train, validation, the table train' in said


@pytest.mark.parametrize(
  'flags, says',
  [
    ((), 'Give --mixture=NAME or --tasks='),
    (('--mixture=t0_train', f'--tasks={TRAIN}'), 'Give --mixture=NAME or'),
    (('--mixture=t0_trian',), "Did you mean 't0_train'"),
    (('--tasks=ag_news_clasify',), "Did you mean 'ag_news_classify'"),
    (('--tasks=wino_bias_type1_anti_refers_to',), 'was never published'),
    ((f'--tasks={TRAIN}', '--num_shards=0'), 'num_shards'),
    ((f'--tasks={TRAIN}', '--revision=nothing'), "Revision 'nothing' of"),
    (('--tasks=ag_news_classify',), 'has no parquet files of'),
  ],
)
def test_a_mistake_gives_one_message(hub, tmp_path, capsys, flags, says):
  code, said = fetch(tmp_path / 'out', capsys, *flags, tasks=())
  assert code == 2 and says in said and 'Traceback' not in said


def test_no_hub_gives_one_message(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and 'cannot be found: ' in said and 'Traceback' not in said


def test_a_full_disk_is_told_beforehand(hub, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    fetch_p3.shutil,
    'disk_usage',
    lambda path: types.SimpleNamespace(free=1),
  )
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and 'free, and about' in said
  assert not hub.requests


def test_mixtures_need_what_was_published():
  # Two of its twins are made from their tasks.
  names = p3_table.configurations(p3_table.members('t0_train_score_eval'))
  assert 'ag_news_classify' in names
  assert TWIN in p3_table.configurations([TWIN])
