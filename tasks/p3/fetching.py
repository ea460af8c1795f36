"""Fetches one task of P3: downloads it, checks it, writes it as a SeqIO cache.

TensorFlow is imported late, by those who fetch: it prints when it is imported,
and `cli.import_tensorflow` has it do so quietly.
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

# In the folder of a task until it is whole.
BEGUN = '.fetching'


@dataclasses.dataclass(frozen=True)
class Job:
  """A task that is to be fetched.

  Attributes:
    task: its name, that of the folder in the repository.
    files: paths in the repository.
    size: of all of them, in bytes.
    commit: of the repository.
    out: folder of all tasks.
    downloads: local folder for the files until they are written.
    num_shards: files that a split is written to.
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
  """Fetches one task, and completes its cache.

  Raises:
    UserError: if it cannot be downloaded, or is not what the table says.
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
  # Of its own, so that all the client library leaves there can be deleted.
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
  """Refuses to write where somebody's copy lies."""
  if not folder.exists() or (folder / BEGUN).exists():
    return
  if names := sorted(file.name for file in folder.iterdir()):
    raise UserError(
      f'{folder} holds files that this command did not write, such as '
      f'{names[0]}, and is no whole copy. If you know that it is (some copies '
      f'lose empty files): touch {folder / "COMPLETED"}. Otherwise remove it, '
      'or name another --out.'
    )


@contextlib.contextmanager
def _discarding(paths: Sequence[str]) -> Iterator[None]:
  """Has the next call download again what may be damaged."""
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
      raise UserError(f'column {more[0]!r} is none of its columns in P3.')
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
