"""The command `tasks.cache`: what it writes, leaves alone and refuses."""

import pytest

from moe_lite.data.caches import file_name
from tasks import cache_parts, cached
from tests.tasks import caches

pytestmark = pytest.mark.usefixtures('own_cache_dirs')


def test_a_mixture_stands_for_its_tasks_and_what_is_whole_is_left_alone(
  run, tmp_path
):
  code, text = run('cache_mixture')
  assert code == 0, text
  assert 'cache_uncacheable' in text
  folders = [tmp_path / name for name in ('cache_all', 'cache_texts')]
  assert sorted(p for p in tmp_path.iterdir()) == folders
  names = [sorted(p.name for p in folder.iterdir()) for folder in folders]

  code, text = run('cache_mixture')
  assert code == 0
  assert '2 of 2 tasks' in text and 'left alone' in text

  whole, part = [folder / 'train.tfrecord-00000-of-00001' for folder in folders]
  (folders[1] / cached.COMPLETED).unlink()
  (folders[1] / file_name('train', 7, 11)).write_bytes(b'of before')
  (folders[1] / 'notes.txt').write_text("the user's own")
  old = whole.stat().st_mtime_ns, part.stat().st_mtime_ns
  code, text = run('cache_mixture')
  assert code == 0 and '1 of 2 tasks' in text
  assert whole.stat().st_mtime_ns == old[0]
  assert part.stat().st_mtime_ns > old[1]
  (folders[1] / 'notes.txt').unlink()
  assert names == [sorted(p.name for p in f.iterdir()) for f in folders]

  code, text = run('cache_mixture', '--overwrite', '--num_shards=2')
  assert code == 0 and 'left alone' not in text
  assert not whole.exists()
  assert len(caches.read_rows('cache_texts', 'train', tmp_path)) == 4


def test_a_split_is_added_to_what_is_whole(run, tmp_path):
  assert run('cache_all', '--splits=train')[0] == 0
  train = tmp_path / 'cache_all' / file_name('train', 0, 1)
  old = train.stat().st_mtime_ns
  assert run('cache_all', '--splits=validation')[0] == 0
  assert train.stat().st_mtime_ns == old
  overwrite = ('--splits=train', '--overwrite', '--num_shards=2')
  assert run('cache_all', *overwrite)[0] == 0
  assert not train.exists()
  assert len(caches.read_rows('cache_all', 'train', tmp_path)) == 7
  assert len(caches.read_rows('cache_all', 'validation', tmp_path)) == 2


def test_a_dry_run_writes_nothing(run, tmp_path):
  code, text = run('cache_mixture', '--dry_run', f'--out={tmp_path}/new')
  assert code == 0
  assert 'cache_all' in text and 'validation' in text
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['--tasks=cache_al'], "Did you mean 'cache_all'"),
    (['--tasks='], '--tasks'),
    (['--tasks=cache_uncacheable'], 'CacheDatasetPlaceholder'),
    (['--splits=trian'], "Did you mean 'train'"),
    (['--out='], '--out'),
    (['--out=FILE'], 'cannot be written: NotADirectoryError'),
    (['--num_shards=0'], 'num_shards'),
    (['--num_shards=x'], 'num_shards'),
    (['--workers=-1'], 'workers'),
    (['--shards=1'], "Unknown command line flag 'shards'"),
    (['more'], 'See --help'),
    (['--module_import=no_such_tasks'], 'no_such_tasks'),
    (['--module_import=broken_tasks'], 'broken_tasks.py, line 3'),
    (['--tasks=cache_double'], 'float64'),
    (['--tasks=cache_uneven'], 'RaggedTensor'),
    (['--tasks=cache_no_files'], "Task 'cache_no_files', split 'train'"),
  ],
)
def test_mistakes_end_with_one_message(run, tmp_path, arguments, said):
  (tmp_path / 'file').write_text('')
  arguments = [a.replace('FILE', f'{tmp_path}/file') for a in arguments]
  code, text = run('cache_all', *arguments)
  assert code == 2
  assert said in text, text
  assert '\nerror: ' in f'\n{text}'
  assert 'Traceback' not in text
  assert not list(tmp_path.rglob(cached.COMPLETED))


def test_a_failing_task_keeps_those_before_it(run, tmp_path):
  code, text = run('cache_texts,cache_failing,cache_all')
  assert code == 2
  assert "Task 'cache_failing', split 'train'" in text
  assert 'the third line is bad' in text
  assert cached.is_complete(tmp_path / 'cache_texts')
  assert not cached.is_complete(tmp_path / 'cache_failing')
  assert not list((tmp_path / 'cache_all').iterdir())


def test_an_interrupted_command_goes_on(run, tmp_path, monkeypatch):
  write = cache_parts.write_part

  def interrupted(part):
    if part.task == 'cache_all':
      raise KeyboardInterrupt
    return write(part)

  monkeypatch.setattr(cache_parts, 'write_part', interrupted)
  code, text = run('cache_texts,cache_all')
  assert code == 130
  assert 'same command' in text
  monkeypatch.undo()
  code, text = run('cache_texts,cache_all')
  assert code == 0 and '1 of 2 tasks' in text
  assert len(caches.read_rows('cache_all', 'train', tmp_path)) == 7
