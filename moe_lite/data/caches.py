"""Checks that the files of a cache are those that were written.

SeqIO finds the files of a split by their names, and each record has a checksum.
Nothing says that a file lies under its own name, or that it ends where it did
when it was written. What `tasks.cache` writes down of each file does.
"""

import hashlib

from etils import epath

from moe_lite.core import json_files
from moe_lite.core.errors import UserError
from moe_lite.core.text_files import read_text

# The entry of a split's info file that tells of its files, in their order.
FILES = 'files'
_START = 4096


def file_name(split: str, shard: int, num_shards: int) -> str:
  """The name of a file, such as 'train.tfrecord-00000-of-00001'."""
  return f'{split}.tfrecord-{shard:05d}-of-{num_shards:05d}'


def describe(file: epath.Path) -> dict[str, int | str]:
  """Tells a file by its size and by a hash of its first bytes."""
  with file.open('rb') as stream:
    start = hashlib.sha256(stream.read(_START)).hexdigest()[:16]
  return {'bytes': file.stat().length, 'start': start}


def check(name: str, folder: str, split: str) -> None:
  """Compares a cache's files with what was written down of them.

  Buckets compare what is uploaded themselves, and are slow to ask. So only
  files of this machine are looked at. `tasks.cache` and `tasks.fetch_p3` tell
  of their files; `seqio_cache_tasks` does not.

  Args:
    name: the name of the task, for messages.
    folder: its cache.
    split: the name of the split.

  Raises:
    UserError: if a file is missing, or another one.
  """
  if '://' in folder:
    return
  path = epath.Path(folder) / f'info.{split}.json'
  if not path.exists():
    return
  told = json_files.parse(read_text(path), str(path)).get(FILES, [])
  if not isinstance(told, list):
    raise UserError(f'{path} is damaged: {FILES!r} is {told!r:.60}.')
  for number, wanted in enumerate(told):
    file = path.parent / file_name(split, number, len(told))
    if not file.exists() or describe(file) != wanted:
      raise UserError(
        f'Task {name!r}: {file} is damaged or cut short, or it is another '
        f'file: {path.name} tells of other bytes. Move the folder of the task '
        'away, and fetch or make it again.'
      )
