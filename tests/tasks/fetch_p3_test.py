"""The command `tasks.fetch_p3`: what it fetches, says and refuses."""

import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import seqio

from tasks import fetch_p3
from tasks.p3 import hub as p3_hub
from tasks.p3 import table
from tests.tasks.p3 import copies, loopback_hub, synthetic
from tests.tasks.p3 import rows as p3_rows

pytestmark = pytest.mark.usefixtures('own_cache_dirs', 'small_table')

# The smallest published ones, whose real sizes are quickly written.
SMALLEST = ('trec_fine_grained_ABBR', 'trec_fine_grained_ABBR_context_first')


@pytest.mark.parametrize('num_shards', [1, 3])
def test_what_is_fetched_is_what_stock_seqio_reads(
  hub, tmp_path, capsys, num_shards
):
  code, said = copies.fetch(tmp_path, capsys, f'--num_shards={num_shards}')
  assert code == 0, said
  assert f'--seqio_additional_cache_dirs={tmp_path}' in said
  seqio.add_global_cache_dirs([str(tmp_path)])
  for name in copies.PUBLISHED:
    task = seqio.TaskRegistry.get(name).replace()
    for split in copies.ROWS:
      assert task.get_cached_stats(split)['examples'] == len(
        copies.written(name, split)
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
      rows = sorted(copies.written(name, split), key=key)
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


def test_a_folder_keeps_its_commit(hub, tmp_path, capsys):
  assert copies.fetch(tmp_path, capsys, tasks=[copies.TRAIN])[0] == 0
  hub.commits['main'] = 'd' * 40
  hub.commits['other'] = 'e' * 40
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 0 and f'Commit {loopback_hub.COMMIT}' in said
  code, said = copies.fetch(tmp_path, capsys, '--revision=other')
  assert code == 2
  assert (
    f'revision main (commit {loopback_hub.COMMIT}), not --revision=other'
    in said
  )


def test_a_dry_run_tells_sizes_and_writes_nothing(hub, tmp_path, capsys):
  out = tmp_path / 'out'
  code, said = copies.fetch(out, capsys, '--dry_run')
  assert code == 0
  assert '3 tasks, 9 files' in said and 'to download' in said
  assert all(f'MB  {task}' in said for task in copies.PUBLISHED)
  assert not out.exists() and not hub.requests


def test_whatever_fails_a_task_leaves_the_others(
  hub, tmp_path, capsys, monkeypatch
):
  download = p3_hub.download

  def fail(file, *arguments):
    if file.startswith(copies.FREE):
      raise RuntimeError('Task error:\nconnection lost')
    return download(file, *arguments)

  monkeypatch.setattr(p3_hub, 'download', fail)
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2
  assert f'  {copies.FREE}: RuntimeError: Task error: connection lost\n' in said
  assert (
    sum((tmp_path / t / 'COMPLETED').exists() for t in copies.PUBLISHED) == 2
  )


def test_ctrl_c_says_how_to_go_on(hub, tmp_path, capsys, monkeypatch):
  download = p3_hub.download
  calls = []

  def interrupt(*arguments):
    calls.append(arguments)
    if len(calls) == 5:  # In the second task.
      raise KeyboardInterrupt
    return download(*arguments)

  monkeypatch.setattr(p3_hub, 'download', interrupt)
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 130 and 'Run the same command again to go on' in said
  code, said = copies.fetch(tmp_path, capsys)
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
  with fetch_p3.downloads('gs://bucket/p3') as folder:
    assert os.path.isdir(folder)
  assert not os.path.exists(folder)


@pytest.mark.parametrize(
  'flags, says',
  [
    ((), 'Give --mixture=NAME or --tasks='),
    (
      ('--mixture=t0_train', f'--tasks={copies.TRAIN}'),
      'Give --mixture=NAME or',
    ),
    (('--mixture=t0_trian',), "Did you mean 't0_train'"),
    (('--tasks=ag_news_clasify',), "Did you mean 'ag_news_classify'"),
    (('--tasks=wino_bias_type1_anti_refers_to',), 'was never published'),
    (('--tasks=xsum_DOC_tldr_score_eval',), "no task 'xsum_DOC_tldr_score"),
    (
      ('--tasks=ag_news_clasify_score_eval',),
      "Did you mean 'ag_news_classify_score_eval'",
    ),
    ((f'--tasks={copies.TRAIN}', '--num_shards=0'), 'num_shards'),
    (
      (f'--tasks={copies.TRAIN}', '--revision=nothing'),
      'bigscience/P3 cannot be found: ',
    ),
    (('--tasks=ag_news_classify',), 'has no parquet files of'),
    ((f'--tasks={copies.TRAIN}', '--out=hdfs://x'), 'gs:// or s3://'),
  ],
)
def test_a_mistake_gives_one_message(hub, tmp_path, capsys, flags, says):
  code, said = copies.fetch(tmp_path / 'out', capsys, *flags, tasks=())
  assert code == 2 and says in said and 'Traceback' not in said


def test_out_must_be_a_folder_to_write_to(hub, tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  code, said = copies.fetch(tmp_path / 'file', capsys)
  assert code == 2 and 'is a file; name a folder' in said
  code, said = copies.fetch(tmp_path / 'file' / 'below', capsys)
  assert code == 2 and 'cannot be written' in said


def test_a_damaged_pin_is_told(hub, tmp_path, capsys):
  (tmp_path / 'fetch.json').write_text('{"revision": "ma')
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2 and f'{tmp_path}/fetch.json is damaged' in said


def test_a_full_disk_is_told_beforehand(hub, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(
    fetch_p3.shutil,
    'disk_usage',
    lambda path: types.SimpleNamespace(free=1),
  )
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2 and 'free, and about' in said
  assert not hub.requests


def test_a_revision_that_will_not_do_pins_nothing(hub, tmp_path, capsys):
  flags = ('--tasks=ag_news_classify', '--revision=main')
  assert copies.fetch(tmp_path, capsys, *flags, tasks=())[0] == 2
  hub.commits['other'] = loopback_hub.COMMIT
  code, _ = copies.fetch(
    tmp_path, capsys, '--revision=other', tasks=[copies.TRAIN]
  )
  assert code == 0


def test_no_room_ends_it_at_once(hub, tmp_path, capsys, monkeypatch):
  def full(*arguments):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('tasks.cached.write_shard', full)
  code, said = copies.fetch(tmp_path, capsys)
  assert code == 2 and 'No space left' in said
  assert len({file.partition('/')[0] for file in hub.downloads()}) == 1
