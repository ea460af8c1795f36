"""P3 is fetched from a hub on this machine, faults and all."""

import os
import signal
import subprocess
import sys
import time
import types

import huggingface_hub
import numpy as np
import pytest
import seqio

from moe_lite.data import dataset
from moe_lite.process import cli
from tasks import fetch_p3
from tasks.p3 import hub as p3_hub
from tasks.p3 import table
from tests.tasks.p3 import loopback_hub as hubs
from tests.tasks.p3 import rows as p3_rows
from tests.tasks.p3 import synthetic
from tests.tasks.p3.source_test import FREE, PUBLISHED, TRAIN, TWIN, folders

# The smallest published ones, whose real sizes are quickly written.
SMALLEST = ('trec_fine_grained_ABBR', 'trec_fine_grained_ABBR_context_first')

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
    synthetic.write_parquet(root, task, 'train', written(task, 'train'), 2)
    rows = written(task, 'validation')
    synthetic.write_parquet(root, task, 'validation', rows)
  return root


@pytest.fixture
def hub(repository, monkeypatch):
  with hubs.serve(repository, p3_hub.REPOSITORY) as hub:
    monkeypatch.setenv('HF_ENDPOINT', hub.url)
    yield hub


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """The table says as many rows as the repository has, and waits are short."""
  published = table.published_rows

  def rows(task):
    return {s: len(written(task, s)) for s in ROWS} if published(task) else {}

  monkeypatch.setattr(table, 'published_rows', rows)
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
  assert not (tmp_path / '.fetch').exists()


@pytest.mark.parametrize(
  'faults',
  [['cut'], ['cut', 'cut'], ['reset'], [429], [500, 429], ['wrong size']],
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
  rows = dataset.read(seqio.TaskRegistry.get(TRAIN), 'train', lengths)
  assert len(rows) == ROWS['train']


@pytest.mark.parametrize('times, code', [(1, 0), (9, 2)])
def test_the_hub_s_other_way_to_send_files_may_fail(
  hub, tmp_path, capsys, monkeypatch, times, code
):
  """Its client for large files raises RuntimeError, whatever has happened."""
  download = huggingface_hub.hf_hub_download
  left = [times]

  def fail(*arguments, **options):
    if left[0]:
      left[0] -= 1
      raise RuntimeError('Task error: error sending request')
    return download(*arguments, **options)

  monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fail)
  found, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert found == code
  told = 'cannot be downloaded: Task error: error sending request' in said
  assert told == bool(code)


def test_a_file_that_is_not_there_is_asked_for_once(hub, tmp_path, capsys):
  file = f'{TRAIN}/train-00000-of-00002.parquet'
  hub.faults[file] += [404] * 9
  assert fetch(tmp_path, capsys, tasks=[TRAIN])[0] == 2
  assert hub.requests['GET', file] == 1


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
    table, 'published_rows', lambda task: {'train': 8, 'validation': 3}
  )
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2
  assert f"{TRAIN}: split 'train' has 7 rows, but 8 in the table" in said
  assert not (tmp_path / TRAIN / 'COMPLETED').exists()


def test_splits_are_checked_against_the_table(
  hub, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(table, 'published_rows', lambda task: {'train': 7})
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2 and "split 'validation' has 3 rows, but 0 in" in said
  rows = {'train': 7, 'validation': 3, 'test': 1}
  monkeypatch.setattr(table, 'published_rows', lambda task: rows)
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2 and "repository has no split 'test'" in said


def test_an_empty_split_is_not_written(hub, tmp_path, capsys, monkeypatch):
  root = tmp_path / 'repository'
  synthetic.write_parquet(root, TRAIN, 'train', written(TRAIN, 'train'))
  no_rows = written(TRAIN, 'train')[:0]
  synthetic.write_parquet(root, TRAIN, 'validation', no_rows)
  monkeypatch.setattr(hub, 'root', root)
  monkeypatch.setattr(table, 'published_rows', lambda task: {'train': 7})
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 0, said
  found = {path.name for path in (tmp_path / TRAIN).iterdir()}
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
  for split in ROWS:
    rows = written(TRAIN, split)
    for row in rows:
      change(row)
    synthetic.write_parquet(hub.root, TRAIN, split, rows)
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2 and says in said


@pytest.mark.parametrize('damage', ['page', 'footer'])
def test_a_damaged_file_fails_its_task_and_is_fetched_again(
  hub, tmp_path, capsys, monkeypatch, damage
):
  """Its size is right, so that the client library takes it for whole."""
  name = f'{FREE}/train-00000-of-00002.parquet'
  file = hub.root / name
  whole = file.read_bytes()
  bad = bytearray(whole)
  part = slice(4, len(bad) // 3) if damage == 'page' else slice(-20, None)
  bad[part] = bytes(len(bad[part]))
  file.write_bytes(bad)
  try:
    code, said = fetch(tmp_path, capsys)
  finally:
    file.write_bytes(whole)
  assert code == 2 and '1 of 3 tasks are not there' in said
  assert f'{FREE}: ' in said and name in said and 'Traceback' not in said
  code, said = fetch(tmp_path, capsys)
  assert code == 0, said


def test_whatever_fails_a_task_leaves_the_others(
  hub, tmp_path, capsys, monkeypatch
):
  download = p3_hub.download

  def fail(file, *arguments):
    if file.startswith(FREE):
      raise RuntimeError('Task error:\nconnection lost')
    return download(file, *arguments)

  monkeypatch.setattr(p3_hub, 'download', fail)
  code, said = fetch(tmp_path, capsys)
  assert code == 2
  assert f'  {FREE}: RuntimeError: Task error: connection lost\n' in said
  assert sum((tmp_path / t / 'COMPLETED').exists() for t in PUBLISHED) == 2


def test_ctrl_c_says_how_to_go_on(hub, tmp_path, capsys, monkeypatch):
  download = p3_hub.download
  calls = []

  def interrupt(*arguments):
    calls.append(arguments)
    if len(calls) == 5:  # In the second task.
      raise KeyboardInterrupt
    return download(*arguments)

  monkeypatch.setattr(p3_hub, 'download', interrupt)
  code, said = fetch(tmp_path, capsys)
  assert code == 130 and 'Run the same command again to go on' in said
  code, said = fetch(tmp_path, capsys)
  assert code == 0 and '1 of 3 tasks are there already' in said


@pytest.mark.slow
@pytest.mark.parametrize('interrupted', [False, True])
def test_workers_share_the_tasks(hub, tmp_path, monkeypatch, interrupted):
  """The command as it is typed, with the table as it is."""
  monkeypatch.undo()
  monkeypatch.setenv('HF_ENDPOINT', hub.url)
  monkeypatch.setattr(hub, 'root', tmp_path / 'repository')
  for task in SMALLEST:
    for split, number in table.published_rows(task).items():
      rows = p3_rows.rows(task, split, number)
      synthetic.write_parquet(hub.root, task, split, rows)
  if interrupted:
    hub.faults[f'{SMALLEST[0]}/train-00000-of-00001.parquet'] += ['silence']
  out = tmp_path / 'out'
  command = subprocess.Popen(
    [
      *(sys.executable, '-m', 'tasks.fetch_p3', f'--out={out}'),
      *(f'--tasks={",".join(SMALLEST)}', '--workers=2'),
    ],
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  if interrupted:
    while not hub.silent.wait(0.1):
      assert command.poll() is None
    os.killpg(command.pid, signal.SIGINT)
  start = time.monotonic()
  _, said = command.communicate(timeout=120)
  if interrupted:
    assert time.monotonic() - start < 20
    assert command.returncode == 130, said
    assert 'Run the same command again to go on' in said
    assert 'Traceback' not in said
  else:
    assert command.returncode == 0, said
    assert all((out / task / 'COMPLETED').exists() for task in SMALLEST)
    assert not (out / '.fetch').exists()


def test_a_bucket_gets_its_files_by_way_of_a_folder_that_is_deleted():
  with fetch_p3._downloads('gs://bucket/p3') as folder:
    assert os.path.isdir(folder)
  assert not os.path.exists(folder)


@pytest.mark.parametrize(
  'flags, says',
  [
    ((), 'Give --mixture=NAME or --tasks='),
    (('--mixture=t0_train', f'--tasks={TRAIN}'), 'Give --mixture=NAME or'),
    (('--mixture=t0_trian',), "Did you mean 't0_train'"),
    (('--tasks=ag_news_clasify',), "Did you mean 'ag_news_classify'"),
    (('--tasks=wino_bias_type1_anti_refers_to',), 'was never published'),
    (('--tasks=xsum_DOC_tldr_score_eval',), "no task 'xsum_DOC_tldr_score"),
    (
      ('--tasks=ag_news_clasify_score_eval',),
      "Did you mean 'ag_news_classify_score_eval'",
    ),
    ((f'--tasks={TRAIN}', '--num_shards=0'), 'num_shards'),
    (
      (f'--tasks={TRAIN}', '--revision=nothing'),
      'bigscience/P3 cannot be found: ',
    ),
    (('--tasks=ag_news_classify',), 'has no parquet files of'),
    ((f'--tasks={TRAIN}', '--out=hdfs://x'), 'gs:// or s3://'),
  ],
)
def test_a_mistake_gives_one_message(hub, tmp_path, capsys, flags, says):
  code, said = fetch(tmp_path / 'out', capsys, *flags, tasks=())
  assert code == 2 and says in said and 'Traceback' not in said


def test_out_must_be_a_folder_to_write_to(hub, tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  code, said = fetch(tmp_path / 'file', capsys)
  assert code == 2 and 'is a file; name a folder' in said
  code, said = fetch(tmp_path / 'file' / 'below', capsys)
  assert code == 2 and 'cannot be written' in said


def test_a_damaged_pin_is_told(hub, tmp_path, capsys):
  (tmp_path / 'fetch.json').write_text('{"revision": "ma')
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and f'{tmp_path}/fetch.json is damaged' in said


def test_no_hub_gives_one_message(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and 'the hub cannot be reached: [Errno' in said


def test_a_full_disk_is_told_beforehand(hub, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    fetch_p3.shutil,
    'disk_usage',
    lambda path: types.SimpleNamespace(free=1),
  )
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and 'free, and about' in said
  assert not hub.requests


def test_twins_are_fetched_where_they_were_published():
  assert table.configurations([TWIN]) == (TWIN,)
  assert table.configurations([f'{TRAIN}_score_eval']) == (TRAIN,)


def test_somebody_s_copy_is_not_written_over(hub, tmp_path, capsys):
  p3_rows.write_cache(tmp_path, TRAIN, ROWS)
  folder = tmp_path / TRAIN
  (folder / 'COMPLETED').unlink()
  before = {path: path.read_bytes() for path in folder.iterdir()}
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 2 and f'touch {folder}/COMPLETED' in said
  assert {path: path.read_bytes() for path in folder.iterdir()} == before
  assert not hub.requests
  # A whole one is taken for what it is.
  (folder / 'COMPLETED').write_text('')
  code, said = fetch(tmp_path, capsys, tasks=[TRAIN])
  assert code == 0 and '1 of 1 tasks are there already' in said


def test_a_revision_that_will_not_do_pins_nothing(hub, tmp_path, capsys):
  flags = ('--tasks=ag_news_classify', '--revision=main')
  assert fetch(tmp_path, capsys, *flags, tasks=())[0] == 2
  hub.commits['other'] = hubs.COMMIT
  code, _ = fetch(tmp_path, capsys, '--revision=other', tasks=[TRAIN])
  assert code == 0


def test_no_room_ends_it_at_once(hub, tmp_path, capsys, monkeypatch):
  def full(*arguments):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('tasks.cached.write_shard', full)
  code, said = fetch(tmp_path, capsys)
  assert code == 2 and 'No space left' in said
  assert len({file.partition('/')[0] for file in hub.downloads()}) == 1
