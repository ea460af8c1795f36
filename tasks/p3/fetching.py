"""Fetches one task of P3: downloads it, checks it, writes it as a SeqIO cache.

TensorFlow prints notices when it is imported. So it is imported in functions
here, after `quiet_tensorflow.import_tensorflow` has silenced it.
"""

import contextlib
import dataclasses
import itertools
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence

from etils import epath

from moe_lite.core.errors import UserError
from tasks.p3 import hub, table

# A file in the folder of a task that is not whole yet.
BEGUN = '.fetching'


@dataclasses.dataclass(frozen=True)
class Job:
  """A task that is to be fetched.

  Attributes:
    task: the name of the task, and of its folder in the repository.
    files: the paths of its files in the repository.
    size: the size of all files, in bytes.
    commit: the commit of the repository.
    out: the folder of all tasks.
    downloads: a local folder for the files, until their rows are written.
    num_shards: the number of files that a split is written to.
  """

  task: str
  files: tuple[str, ...]
  size: int
  commit: str
  out: str
  downloads: str
  num_shards: int

  def __str__(self) -> str:
    return f'task {self.task!r}'


def fetch_task(job: Job) -> None:
  """Fetches one task and completes its cache.

  Raises:
    UserError: if the task cannot be downloaded, or does not agree with the
      table.
  """
  from tasks import cached

  splits = defaultdict(list)
  for file in sorted(job.files):
    splits[file.rpartition('/')[2].rpartition('-of-')[0][:-6]].append(file)
  wanted = table.published_rows(job.task)
  if missing := sorted(wanted.keys() - splits.keys()):
    raise UserError(
      f'the repository has no split {missing[0]!r} of it, only '
      f'{", ".join(sorted(splits))}.'
    )
  folder = epath.Path(job.out) / job.task
  _check_ours(folder)
  # A folder of its own, so that all that the client library leaves there can be
  # deleted.
  downloads = os.path.join(job.downloads, job.task)
  paths = {
    split: [hub.download(file, job.commit, downloads) for file in files]
    for split, files in splits.items()
  }
  for split, files in paths.items():
    with _discarding(files):
      _check_rows(split, files, wanted.get(split, 0))
  folder.mkdir(parents=True, exist_ok=True)
  (folder / BEGUN).write_text(job.commit)
  cached.clear(folder, splits)
  for split, files in paths.items():
    if wanted.get(split):  # SeqIO cannot read a split without rows.
      with _discarding(files):
        _write_split(job, folder, split, files, wanted[split])
  cached.complete(folder)
  (folder / BEGUN).unlink()
  shutil.rmtree(downloads, ignore_errors=True)


def _check_ours(folder: epath.Path) -> None:
  """Refuses to write over somebody's copy."""
  if not folder.exists() or (folder / BEGUN).exists():
    return
  if names := sorted(file.name for file in folder.iterdir()):
    raise UserError(
      f'{folder} is not a whole copy, and holds files that this command did '
      f'not write, such as {names[0]}. Some copies lose empty files. If you '
      f'know that this one is whole: touch {folder / "COMPLETED"}. Otherwise '
      'remove the folder, or name another --out.'
    )


@contextlib.contextmanager
def _discarding(paths: Sequence[str]) -> Iterator[None]:
  """Deletes files that may be damaged, so that the next call downloads them."""
  try:
    yield
  except Exception:
    for path in paths:
      os.remove(path)
    raise


def _check_rows(split: str, paths: Sequence[str], wanted: int) -> None:
  from tasks.p3 import parquet

  number = sum(parquet.check(path, ()) for path in paths)
  if number != wanted:
    raise UserError(
      f'split {split!r} has {number:,} rows, but {wanted:,} in the table.'
    )


def _write_split(
  job: Job, folder: epath.Path, split: str, paths: Sequence[str], number: int
) -> None:
  from tasks import cached
  from tasks.p3 import parquet, source

  columns = source.signature(job.task)
  for path in paths:
    parquet.check(path, columns)
    if more := sorted(set(parquet.columns(path)) - columns.keys()):
      raise UserError(f'column {more[0]!r} is not one of its columns in P3.')
  rows = itertools.chain.from_iterable(
    parquet.examples(path, tuple(columns)) for path in paths
  )
  ends = [number * i // job.num_shards for i in range(job.num_shards + 1)]
  stats = [
    cached.write_shard(
      folder, split, itertools.islice(rows, b - a), i, job.num_shards
    )
    for i, (a, b) in enumerate(itertools.pairwise(ends))
  ]
  cached.finish_split(folder, split, cached.features(columns), stats)
