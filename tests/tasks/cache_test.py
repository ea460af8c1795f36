"""Caches made by command are what stock SeqIO reads, row for row."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import seqio
import tensorflow as tf

from moe_lite.process import cli
from tasks import cache, cache_parts, cached

MODULE = 'tasks_to_cache'
SOURCE = """
import functools
import os
import pathlib
import time

import numpy as np
import seqio
import tensorflow as tf

from tasks import mini

HERE = pathlib.Path(__file__).parent
ROWS = {'train': 7, 'validation': 2, 'none': 0}
PREPROCESSORS = (
  seqio.preprocessors.tokenize,
  seqio.CacheDatasetPlaceholder(),
  seqio.preprocessors.append_eos,
)

def rows(split, shuffle_files=False, seed=None):
  numbers = range(ROWS[split])
  texts = lambda values: tf.constant(list(values), tf.string)
  ragged = lambda values, dtype: tf.ragged.constant(
    values, dtype, ragged_rank=2
  )
  return tf.data.Dataset.from_tensor_slices({
    'inputs': texts('a trout ' * (i + 1) for i in numbers),
    'targets': texts('fish' if i % 2 else 'a bird' for i in numbers),
    'idx': tf.constant(
      [[i, i % 2] for i in numbers], tf.int32, (len(numbers), 2)
    ),
    'is_correct': tf.constant([i % 2 == 1 for i in numbers], tf.bool),
    'weight': tf.constant([i / 3 for i in numbers], tf.float32),
    'raw': texts(b'\\0%d\\0' % i for i in numbers),
    'grid': tf.ones([len(numbers), 2, 3], tf.int64),
    'choices': tf.ragged.constant(
      [['fish', 'bird'][: i % 3] for i in numbers], tf.string, ragged_rank=1
    ),
    'spans': ragged([[[i], [], [1, i]][: i % 4] for i in numbers], tf.int32),
    'marks': ragged([[[i > 1, True]] for i in numbers], tf.bool),
  })

def add(name, rows=rows, preprocessors=PREPROCESSORS, splits=tuple(ROWS)):
  source = rows
  if callable(rows):
    source = seqio.FunctionDataSource(rows, splits=splits)
  seqio.TaskRegistry.add(
    name,
    source=source,
    preprocessors=preprocessors,
    output_features=mini.FEATURES,
  )

def texts(split, shuffle_files=False, seed=None):
  some = [f'line {i}' for i in range(4)]
  return tf.data.Dataset.from_tensor_slices({'inputs': some, 'targets': some})

def lines():
  for i in range(3):
    text = ''.join(f'file {i} line {j}\\n' for j in range(i + 1))
    (HERE / f'lines-{i}.txt').write_text(text)
  both = lambda ds: ds.map(lambda line: {'inputs': line, 'targets': line})
  add(
    'cache_files',
    seqio.TextLineDataSource({'train': str(HERE / 'lines-*.txt')}),
    (both, *PREPROCESSORS),
  )

class Divisible(seqio.DataSource):
  supports_arbitrary_sharding = True

  def list_shards(self, split):
    return ['all']

  def get_dataset(self, split, shuffle=True, seed=None, shard_info=None):
    shard = shard_info or seqio.ShardInfo(0, 1)
    return texts(split).shard(shard.num_shards, shard.index)

def unknown_shapes(dataset):
  def change(row):
    ids = tf.numpy_function(lambda x: x, [row['targets']], tf.int32)
    both = tf.numpy_function(lambda x: np.stack([x, x], 1), [ids], tf.int32)
    return {**row, 'targets': tf.ensure_shape(ids, [None]), 'both': both}

  return dataset.map(change)

def failing(dataset):
  def fail(x):
    raise ValueError('the third line is bad')

  return dataset.map(
    lambda row: {**row, 'x': tf.numpy_function(fail, [row['inputs']], tf.int32)}
  )

def with_x(value, dataset):
  return dataset.map(lambda row: {**row, 'x': value(row)})

add('cache_all')
add('cache_texts', texts, splits=('train',))
lines()
add('cache_divisible', Divisible(['train']))
add('cache_unknown', preprocessors=(
  seqio.preprocessors.tokenize, unknown_shapes, *PREPROCESSORS[1:]))
add('cache_none_left', preprocessors=(
  lambda dataset: dataset.filter(lambda row: row['weight'] < 0),
  *PREPROCESSORS))
add('cache_failing', texts, (failing, *PREPROCESSORS), ('train',))
add('cache_uncacheable', texts, PREPROCESSORS[:1], ('train',))
add('cache_double', texts, (
  functools.partial(with_x, lambda row: tf.constant(1.0, tf.float64)),
  *PREPROCESSORS), ('train',))
add('cache_uneven', texts, (
  PREPROCESSORS[0],
  functools.partial(with_x, lambda row: tf.numpy_function(
    lambda ids: np.ones([2, ids[-1] % 5], np.int32), [row['inputs']],
    tf.int32)),
  *PREPROCESSORS[1:]), ('train',))
add('cache_no_files', seqio.TextLineDataSource(
  {'train': str(HERE / 'absent-*')}))
seqio.MixtureRegistry.add(
  'cache_mixture', ['cache_all', 'cache_texts', 'cache_uncacheable'], 1.0)

def unordered(split, shuffle_files=False, seed=None):
  (HERE / f'worker-{os.getpid()}').touch()
  while len(list(HERE.glob('worker-*'))) < 2:
    time.sleep(0.1)
  # Python hashes texts anew in every process, unless told otherwise.
  some = list({f'word {i}' for i in range(50)})
  return tf.data.Dataset.from_tensor_slices({'inputs': some, 'targets': some})

def slow(split, shuffle_files=False, seed=None):
  while (HERE / 'wait').exists():
    (HERE / 'waiting').write_text(str(os.getpid()))
    time.sleep(0.1)
  return texts(split)

add('cache_unordered', unordered, splits=('train',))
add('cache_slow', slow, splits=('train',))
"""


@pytest.fixture(scope='module')
def module(tmp_path_factory):
  """The folder of a module of tasks, which is registered."""
  folder = tmp_path_factory.mktemp('module')
  (folder / f'{MODULE}.py').write_text(SOURCE)
  (folder / 'broken_tasks.py').write_text('import seqio\n\nundefined\n')
  sys.path.insert(0, str(folder))
  before = set(seqio.TaskRegistry.names())
  importlib.import_module(MODULE)
  yield folder
  sys.path.remove(str(folder))
  for name in set(seqio.TaskRegistry.names()) - before:
    if name.startswith('cache_'):
      seqio.TaskRegistry.remove(name)
  seqio.MixtureRegistry.remove('cache_mixture')


@pytest.fixture(autouse=True)
def cache_dirs(module):
  """No other test's caches, nor ours for others."""
  dirs = seqio.get_global_cache_dirs()
  yield
  seqio.set_global_cache_dirs(dirs)


@pytest.fixture
def run(tmp_path, capsys):
  """Runs the command in this process: its exit code and what it printed."""

  def run(tasks, *arguments, workers=1):
    capsys.readouterr()
    argv = [
      'cache',
      *(f'--tasks={tasks}', f'--module_import={MODULE}'),
      *(f'--out={tmp_path}', f'--workers={workers}', *arguments),
    ]
    code = cli.guard(cache.cache, argv, None)
    printed = capsys.readouterr()
    return code, printed.out + printed.err

  return run


def read(name, split, folder=None):
  """Rows in order, from the cache in a folder or from the source."""
  # SeqIO remembers where it found a task's cache.
  task = seqio.TaskRegistry.get(name).replace()
  if folder is not None:
    seqio.set_global_cache_dirs([str(folder)])
  rows = task.get_dataset(
    {'inputs': 64, 'targets': 64},
    split=split,
    use_cached=folder is not None,
    shuffle=False,
  )
  return [
    {key: (row[key].dtype.name, plain(row[key])) for key in sorted(row)}
    for row in rows
  ]


def plain(value):
  if isinstance(value, tf.RaggedTensor):
    return value.to_list()
  value = value.numpy()
  return value if isinstance(value, bytes) else value.tolist()


def sort(rows):
  return sorted(rows, key=repr)


@pytest.mark.parametrize('num_shards', [1, 3])
def test_cached_rows_are_the_uncached_ones(run, tmp_path, num_shards):
  code, text = run('cache_all', f'--num_shards={num_shards}')
  assert code == 0, text
  assert f'--seqio_additional_cache_dirs={tmp_path}' in text
  assert '--gin.USE_CACHED_TASKS=True' in text
  for split, number in (('train', 7), ('validation', 2), ('none', 0)):
    expected = read('cache_all', split)
    found = read('cache_all', split, tmp_path)
    assert len(found) == number
    assert sort(found) == sort(expected)
    if num_shards == 1:
      assert found == expected
    files = list((tmp_path / 'cache_all').glob(f'{split}.tfrecord-*'))
    assert len(files) == num_shards


def test_info_and_stats_are_the_counted_numbers(run, tmp_path):
  assert run('cache_all', '--num_shards=3')[0] == 0
  seqio.set_global_cache_dirs([str(tmp_path)])
  task = seqio.TaskRegistry.get('cache_all').replace()
  for split in ('train', 'validation', 'none'):
    expected = {'examples': 0}
    for row in read('cache_all', split):
      expected['examples'] += 1
      for name in ('inputs', 'targets'):
        tokens = sum(i not in (0, 1) for i in row[name][1])
        total, most = f'{name}_tokens', f'{name}_max_tokens'
        expected[total] = expected.get(total, 0) + tokens
        expected[most] = max(expected.get(most, 0), tokens)
    assert task.get_cached_stats(split) == expected
    info = json.loads((tmp_path / f'cache_all/info.{split}.json').read_text())
    assert info['num_shards'] == 3
    assert info['features'] == {
      'inputs': {'shape': [None], 'dtype': 'int32'},
      'inputs_pretokenized': {'shape': [], 'dtype': 'string'},
      'targets': {'shape': [None], 'dtype': 'int32'},
      'targets_pretokenized': {'shape': [], 'dtype': 'string'},
      'idx': {'shape': [None], 'dtype': 'int32'},
      'is_correct': {'shape': [], 'dtype': 'bool'},
      'weight': {'shape': [], 'dtype': 'float32'},
      'raw': {'shape': [], 'dtype': 'string'},
      'grid': {'shape': [None, 3], 'dtype': 'int64'},
      'choices': {'shape': [None], 'dtype': 'string'},
      'spans': {'shape': [None, None], 'dtype': 'int32'},
      'marks': {'shape': [None, None], 'dtype': 'bool'},
    }


@pytest.mark.parametrize(
  ('task', 'shards', 'files'),
  [
    ('cache_files', None, 3),  # As many as the source has.
    ('cache_files', 2, 2),
    ('cache_files', 5, 5),
    ('cache_divisible', None, 1),
    ('cache_divisible', 3, 3),
    ('cache_texts', 9, 9),  # More than rows.
    ('cache_none_left', 2, 2),
    ('cache_unknown', 3, 3),
  ],
)
def test_shards_together_hold_each_row_once(run, tmp_path, task, shards, files):
  code, text = run(
    task, '--splits=train', *([f'--num_shards={shards}'] if shards else [])
  )
  assert code == 0, text
  assert len(list((tmp_path / task).glob('train.tfrecord-*'))) == files
  found = read(task, 'train', tmp_path)
  assert sort(found) == sort(read(task, 'train'))
  assert bool(found) == (task != 'cache_none_left')


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
  (folders[1] / cached.file_name('train', 7, 11)).write_bytes(b'of before')
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
  assert len(read('cache_texts', 'train', tmp_path)) == 4


def test_a_split_is_added_to_what_is_whole(run, tmp_path):
  assert run('cache_all', '--splits=train')[0] == 0
  train = tmp_path / 'cache_all' / cached.file_name('train', 0, 1)
  old = train.stat().st_mtime_ns
  assert run('cache_all', '--splits=validation')[0] == 0
  assert train.stat().st_mtime_ns == old
  overwrite = ('--splits=train', '--overwrite', '--num_shards=2')
  assert run('cache_all', *overwrite)[0] == 0
  assert not train.exists()
  assert len(read('cache_all', 'train', tmp_path)) == 7
  assert len(read('cache_all', 'validation', tmp_path)) == 2


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
  assert len(read('cache_all', 'train', tmp_path)) == 7


@pytest.fixture
def start(module, tmp_path):
  """Starts the command with two workers, in a session as of a terminal."""

  def start():
    return subprocess.Popen(
      [
        *(sys.executable, '-m', 'tasks.cache', f'--module_import={MODULE}'),
        '--tasks=cache_unordered,cache_slow',
        *(f'--out={tmp_path}', '--workers=2', '--num_shards=3'),
      ],
      env={**os.environ, 'PYTHONPATH': str(module)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )

  return start


@pytest.fixture
def waiting(module, tmp_path):
  """Has workers wait in the second task; finds the process of one."""
  (module / 'wait').touch()
  file = module / 'waiting'
  for left in (file, *module.glob('worker-*')):
    left.unlink(missing_ok=True)

  def waiting(command):
    while not (
      cached.is_complete(tmp_path / 'cache_unordered')
      and file.exists()
      and file.read_text()
    ):
      assert command.poll() is None, command.communicate()[0]
      time.sleep(0.1)
    return int(file.read_text())

  yield waiting
  (module / 'wait').unlink(missing_ok=True)


@pytest.mark.slow
def test_a_killed_worker_ends_the_command_which_then_goes_on(
  module, start, waiting, tmp_path
):
  command = start()
  os.kill(waiting(command), signal.SIGKILL)
  text = command.communicate(timeout=60)[0]
  assert command.returncode == 2, text
  assert 'cache_slow' in text and '--workers' in text
  assert 'Traceback' not in text
  words = [row['inputs'] for row in read('cache_unordered', 'train', tmp_path)]
  assert len(words) == len(set(map(repr, words))) == 50

  (module / 'wait').unlink()
  command = start()
  text = command.communicate()[0]
  assert command.returncode == 0, text
  assert '1 of 2 tasks' in text
  assert len(read('cache_slow', 'train', tmp_path)) == 4


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(start, waiting, number):
  command = start()
  worker = waiting(command)
  if number == signal.SIGINT:  # Ctrl-C reaches all processes of a terminal.
    os.killpg(command.pid, number)
  else:
    command.send_signal(number)
  text = command.communicate(timeout=60)[0]
  if number == signal.SIGINT:
    assert command.returncode == 130, text
    assert 'same command' in text
  assert 'Traceback' not in text
  with pytest.raises(ProcessLookupError):
    while True:
      os.kill(worker, 0)
      time.sleep(0.1)
