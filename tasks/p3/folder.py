"""Where P3 lies, and in which of its layouts.

P3 is looked for in SeqIO's cache folders (`--seqio_additional_cache_dirs`). For
programs without such a flag, the macro P3_DIR names a folder. Each task has a
folder there, in one of three layouts. The first is a SeqIO cache:
`tasks.fetch_p3` writes it, and the data set's repository had it until 2024,
under `data/`. The second is the parquet files that the repository has today,
and the third those of the data set viewer, `<task>/<split>/0000.parquet`, which
are on the repository's branch `refs/convert/parquet`. A path may be any that
TensorFlow's file system reads.
"""

import dataclasses
import json
import os
import re
from typing import Any

import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError, some
from moe_lite.data import caches, catalog
from tasks import cached
from tasks.p3 import settings, table

PARQUET = '.parquet'
_SPLITS = ('train', 'validation', 'test')
# The data set viewer's name for the first part of a split that is very large.
_PARTIAL = 'partial-'
_LAYOUTS = (
  f'A folder of a task has a SeqIO cache with a file {cached.COMPLETED}, or '
  'files train-00000-of-00001.parquet, or files train/0000.parquet.'
)
_AGAIN = 'Move it away, and fetch or copy the task again.'
# bigscience/P3 takes about 100 GB for its 121 million rows.
_BYTES_A_ROW = 825


@dataclasses.dataclass(frozen=True)
class TaskFolder:
  """A task on disk.

  Attributes:
    task: the name of the task.
    path: the path of its folder.
    names: the names of the files in it.
  """

  task: str
  path: str
  names: frozenset[str]

  def files(self, split: str) -> list[str]:
    """The paths of a split's files, in order.

    Raises:
      UserError: if the split has no files, or if some are missing or empty.
    """
    if cached.COMPLETED in self.names:
      names = self._tfrecords(split)
    elif names := sorted(n for n in self.names if n.startswith(f'{split}/')):
      # The layout of the data set viewer. It does not say how many there are.
      wanted = [f'{split}/{i:04d}{PARQUET}' for i in range(len(names))]
      if missing := sorted(set(wanted) - set(names)):
        raise self._broken(f'lacks {missing[0]}')
    else:
      names = sorted(
        name
        for name in self.names
        if name.startswith(f'{split}-') and name.endswith(PARQUET)
      )
      if not names:
        raise self._no_split(split)
      of = int(names[0].removesuffix(PARQUET).rpartition('-of-')[2])
      if len(names) != of:
        raise self._broken(f'has {len(names)} of the {of} files of {split!r}')
    paths = [os.path.join(self.path, name) for name in names]
    empty = [p for p in paths if not tf.io.gfile.stat(p).length]
    # A file may be empty if there are fewer rows than files.
    if empty and self._rows(split) >= len(paths):
      raise self._broken(f'has an empty file, {os.path.basename(empty[0])}')
    caches.check(self.task, self.path, split)
    return paths

  def _rows(self, split: str) -> int:
    try:
      return self._json(f'stats.{split}.json')['examples']
    except (OSError, KeyError, tf.errors.OpError):
      return table.published_rows(self.task).get(split, 0)

  def _json(self, name: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(os.path.join(self.path, name)) as file:
      text = file.read()
    try:
      return json.loads(text)
    except ValueError as error:
      raise self._broken(f'has a damaged {name}') from error

  def _tfrecords(self, split: str) -> list[str]:
    info = f'info.{split}.json'
    if info not in self.names:
      raise self._no_split(split)
    content = self._json(info)
    if not content:  # SeqIO writes this for a split without rows.
      raise UserError(
        f'Task {self.task!r} has no rows in split {split!r} ({self.path}). '
        'Choose another split, or a mixture without this task.'
      )
    number = content['num_shards']
    names = [caches.file_name(split, i, number) for i in range(number)]
    if missing := [name for name in names if name not in self.names]:
      raise self._broken(f'lacks {missing[0]}')
    return names

  def _no_split(self, split: str) -> UserError:
    splits = {n.split('.')[1] for n in self.names if n.startswith('info.')}
    splits |= {
      re.split('[-/]', n.removeprefix(_PARTIAL))[0]
      for n in self.names
      if n.endswith(PARQUET)
    }
    if any(n.startswith(f'{_PARTIAL}{split}/') for n in self.names):
      return UserError(
        f'Task {self.task!r}: {self.path} has {_PARTIAL}{split}, which is only '
        f'the first part of the split: the data set viewer cuts large ones. '
        f'{remedy(self.task)}'
      )
    return UserError(
      f'Task {self.task!r} has no split {split!r} in {self.path}, only '
      f'{", ".join(sorted(splits)) or "none"}. {remedy(self.task)}'
    )

  def _broken(self, what: str) -> UserError:
    return UserError(
      f'Task {self.task!r}: {self.path} {what}. {_AGAIN} {remedy(self.task)}'
    )


def find(task: str) -> TaskFolder:
  """Finds the folder of a task.

  Raises:
    UserError: if there is none. The message says how to get it, and how large
      it is.
  """
  own = settings.get(settings.folder)
  roots = [*([own] if own else []), *seqio.get_global_cache_dirs()]
  found = [
    _list(task, path)
    for root in roots
    for path in (os.path.join(root, task), os.path.join(root, 'data', task))
    if tf.io.gfile.isdir(path)
  ]
  if found:
    # A whole folder comes first, wherever it lies.
    return _check(min(found, key=lambda f: cached.COMPLETED not in f.names))
  where = ', '.join(map(str, roots)) or 'none were given'
  raise UserError(
    f'Task {task!r} is not in the folders of --seqio_additional_cache_dirs '
    f'or P3_DIR ({where}). {remedy(task)}'
  )


def remedy(task: str) -> str:
  """Says which command fetches a task with its mixture, and how large it is."""
  base = task.removesuffix(catalog.SCORE_EVAL)
  if not table.configurations([task]):
    return 'It was never published, so it cannot be fetched.'
  mixtures = [
    mixture
    for mixture in table.MIXTURES
    if {task, base} & set(table.members(mixture))
  ]
  wanted = f'--mixture={mixtures[0]}' if mixtures else f'--tasks={task}'
  configurations = table.configurations(
    table.members(mixtures[0]) if mixtures else [task]
  )
  rows = sum(
    sum(table.published_rows(name).values()) for name in configurations
  )
  gigabytes = rows * _BYTES_A_ROW / 1e9
  return (
    f'Fetch it with "python -m tasks.fetch_p3 {wanted} --out=DIR" '
    f'({len(configurations)} tasks, {rows:,} rows, in the order of '
    f'{gigabytes:.2g} GB; --dry_run says exactly), and give '
    '--seqio_additional_cache_dirs=DIR.'
  )


def _list(task: str, path: str) -> TaskFolder:
  # In a bucket, the names of folders end in a slash.
  names = {name.rstrip('/') for name in tf.io.gfile.listdir(path)}
  # The data set viewer has a folder for each split.
  folders = {f'{part}{split}' for part in ('', _PARTIAL) for split in _SPLITS}
  for split in names & folders:
    inside = os.path.join(path, split)
    if tf.io.gfile.isdir(inside):
      names |= {
        f'{split}/{name}'
        for name in tf.io.gfile.listdir(inside)
        if name.endswith(PARQUET)
      }
  return TaskFolder(task, path, frozenset(names))


def _check(folder: TaskFolder) -> TaskFolder:
  """Returns the folder if it is whole, and raises an error otherwise."""
  task, path, names = folder.task, folder.path, folder.names
  if cached.COMPLETED in names:
    return folder
  if any(name.startswith(('info.', 'stats.')) for name in names):
    raise UserError(
      f'Task {task!r}: {path} has no file {cached.COMPLETED}, so it is not '
      'known to be whole. Some copies lose empty files. If you know that this '
      'one is whole, create the file: touch '
      f'{os.path.join(path, cached.COMPLETED)}. Otherwise move it away, and '
      f'fetch or copy the task again. {remedy(task)}'
    )
  if not any(name.endswith(PARQUET) for name in names):
    raise UserError(
      f'Task {task!r}: {path} holds neither a SeqIO cache nor parquet files of '
      f'P3, but {some(sorted(names)) or "nothing"}. {_LAYOUTS} Nothing of what '
      f'is there was changed. {remedy(task)}'
    )
  return folder
