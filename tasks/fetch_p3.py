"""Fetches P3 from the Hugging Face Hub, as SeqIO caches.

  python -m tasks.fetch_p3 --mixture=NAME | --tasks=NAME,NAME  --out=DIR
      [--revision=main] [--num_shards=1] [--workers=N] [--dry_run]

downloads what the tasks of a mixture are read from, a folder a task, and checks
its rows against the table. What is there and whole is left alone, so that the
same command goes on; it stays with the commit that the first one found.

  --mixture     t0_train, t0_eval_score_eval, ...: see tasks/README.md
  --out         a folder, or a bucket such as gs://bucket/p3
  --revision    of the data set's repository
  --num_shards  files a split: as many as there are hosts to read them
  --workers     processes, each of about 1 GB; 0 or 1 starts none
  --dry_run     say what would be fetched and how large it is

HF_ENDPOINT names another hub, HF_TOKEN an account.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import jax
from absl import flags
from etils import epath

from moe_lite import cli
from moe_lite.errors import UserError, nearest
from moe_lite.progress import Progress, say
from tasks import p3_hub, p3_table, workers

PINNED = 'fetch.json'
_PARQUET = '.parquet'
# A cache is not compressed; published sizes give 3.2 for its first tasks.
_GROWS = 3.5
_MEGABYTE = 10**6


@dataclasses.dataclass(frozen=True)
class Job:
  """A task that is to be fetched.

  Attributes:
    task: its name, that of the folder in the repository.
    files: paths in the repository.
    size: of all of them, in bytes.
    commit: of the repository.
    out: folder of all tasks.
    num_shards: files that a split is written to.
  """

  task: str
  files: tuple[str, ...]
  size: int
  commit: str
  out: str
  num_shards: int

  def __str__(self) -> str:
    return f'task {self.task!r}'


def fetch(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = _parse(argv)
  names = _configurations(values)
  commit = _pin(values.out, values.revision, values.dry_run)
  missing = [name for name in names if not _is_whole(values.out, name)]
  if len(missing) < len(names):
    say(f'{len(names) - len(missing)} of {len(names)} tasks are there already.')
  jobs = _jobs(missing, commit, values)
  size = sum(job.size for job in jobs)
  rows = sum(sum(p3_table.published_rows(job.task).values()) for job in jobs)
  say(
    f'{len(jobs)} tasks, {sum(len(job.files) for job in jobs)} files, '
    f'{rows:,} rows: {_bytes(size)} to download, about '
    f'{_bytes(_GROWS * size)} on disk. Commit {commit}.'
  )
  if values.dry_run:
    for job in jobs:
      print(f'{job.size / _MEGABYTE:10.1f} MB  {job.task}')
    return
  _check_space(values.out, _GROWS * size)
  cli.import_tensorflow()
  failed = _fetch_all(jobs, values.workers)
  if failed:
    reasons = [f'  {task}: {reason}' for task, reason in failed.items()]
    raise UserError(
      '\n'.join(
        [
          f'{len(failed)} of {len(names)} tasks are not there:',
          *reasons,
          'The same command tries them again, and leaves the others alone.',
        ]
      )
    )
  say(
    f'All {len(names)} tasks are in {values.out}. They are read with',
    f'  --seqio_additional_cache_dirs={shlex.quote(values.out)}',
  )


def fetch_task(job: Job) -> None:
  """Fetches one task, and completes its cache.

  Raises:
    UserError: if it cannot be downloaded, or is not what the table says.
  """
  from tasks import cached, p3_parquet, p3_source

  folder = epath.Path(job.out) / job.task
  splits = defaultdict(list)
  for file in sorted(job.files):
    splits[file.rpartition('/')[2].rpartition('-of-')[0][:-6]].append(file)
  wanted = p3_table.published_rows(job.task)
  if splits.keys() != wanted.keys():
    raise UserError(
      f'the repository has splits {", ".join(sorted(splits)) or "none"}, the '
      f'table {", ".join(sorted(wanted))}.'
    )
  cached.clear(folder, splits)
  with _downloads(job.out) as downloads:
    for split, files in splits.items():
      paths = [p3_hub.download(file, job.commit, downloads) for file in files]
      columns = p3_parquet.columns(paths[0])
      if unknown := set(columns) - p3_source.SPECS.keys():
        raise UserError(f'column {sorted(unknown)[0]!r} is none of P3.')
      number = sum(p3_parquet.check(path, columns) for path in paths)
      if number != wanted[split]:
        raise UserError(
          f'split {split!r} has {number:,} rows, but {wanted[split]:,} in the '
          'table.'
        )
      rows = itertools.chain.from_iterable(
        p3_parquet.examples(path, columns) for path in paths
      )
      ends = [number * i // job.num_shards for i in range(job.num_shards + 1)]
      stats = [
        cached.write_shard(
          folder, split, itertools.islice(rows, b - a), i, job.num_shards
        )
        for i, (a, b) in enumerate(itertools.pairwise(ends))
      ]
      spec = cached.features({name: p3_source.SPECS[name] for name in columns})
      cached.finish_split(folder, split, spec, stats)
    cached.complete(folder)
    shutil.rmtree(os.path.join(downloads, job.task), ignore_errors=True)


def _parse(argv: Sequence[str]) -> flags.FlagValues:
  values = flags.FlagValues()
  flags.DEFINE_string('mixture', None, 'See above.', flag_values=values)
  flags.DEFINE_list('tasks', [], 'See above.', values)
  flags.DEFINE_string('out', None, 'See above.', flag_values=values)
  flags.DEFINE_string('revision', 'main', 'See above.', flag_values=values)
  flags.DEFINE_integer('num_shards', 1, 'See above.', 1, flag_values=values)
  most = min(os.cpu_count() or 1, 8)
  flags.DEFINE_integer('workers', most, 'See above.', 0, flag_values=values)
  flags.DEFINE_bool('dry_run', False, 'See above.', flag_values=values)
  try:
    _, *rest = values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if rest or not values.out or bool(values.mixture) == bool(values.tasks):
    raise UserError(
      'Give --mixture=NAME or --tasks=NAME,NAME, and --out=DIR. See --help.'
    )
  values.out = os.path.expanduser(values.out)
  if epath.Path(values.out).is_file():
    raise UserError(f'--out={values.out} is a file; name a folder.')
  return values


def _configurations(values: flags.FlagValues) -> tuple[str, ...]:
  """What is fetched, by name."""
  if values.mixture:
    if values.mixture not in p3_table.MIXTURES:
      raise UserError(
        f'--mixture={values.mixture} is none of '
        f'{", ".join(p3_table.MIXTURES)}.'
        f'{nearest(values.mixture, p3_table.MIXTURES)}'
      )
    tasks = p3_table.members(values.mixture)
  else:
    tasks = tuple(values.tasks)
  for task in tasks:
    if p3_table.lookup(task) is None:
      raise UserError(
        f'--tasks: P3 has no task {task!r}.{nearest(task, p3_table.prompts())}'
      )
    if not p3_table.configurations([task]):
      raise UserError(f'Task {task!r} was never published.')
  return p3_table.configurations(tasks)


def _is_whole(out: str, task: str) -> bool:
  return (epath.Path(out) / task / 'COMPLETED').exists()


def _pin(out: str, revision: str, dry_run: bool) -> str:
  """The commit that this folder's tasks come from."""
  path = epath.Path(out) / PINNED
  if path.exists():
    pinned = json.loads(path.read_text())
    if revision not in (pinned['revision'], pinned['commit']):
      raise UserError(
        f'{out} holds revision {pinned["revision"]} (commit '
        f'{pinned["commit"]}), not --revision={revision}: name another --out.'
      )
    return pinned['commit']
  commit = p3_hub.commit(revision)
  if not dry_run:
    path.parent.mkdir(parents=True, exist_ok=True)
    pinned = {
      'repository': p3_hub.REPOSITORY,
      'revision': revision,
      'commit': commit,
    }
    path.write_text(json.dumps(pinned, indent=2) + '\n')
  return commit


def _jobs(
  names: Sequence[str], commit: str, values: flags.FlagValues
) -> list[Job]:
  """Every task with its files, the largest first."""
  files: dict[str, dict[str, int]] = defaultdict(dict)
  for path, size in p3_hub.files(commit) if names else ():
    folder, _, name = path.rpartition('/')
    if name.endswith(_PARQUET):
      files[folder][path] = size
  if absent := [name for name in names if name not in files]:
    raise UserError(
      f'Commit {commit} of {p3_hub.REPOSITORY} has no parquet files of '
      f'{absent[0]!r} (and of {len(absent) - 1} more). Give --revision=main.'
    )
  jobs = [
    Job(
      name,
      tuple(files[name]),
      sum(files[name].values()),
      commit,
      values.out,
      values.num_shards,
    )
    for name in names
  ]
  return sorted(jobs, key=lambda job: -job.size)


def _check_space(out: str, needed: float) -> None:
  if '://' in out:
    return
  free = shutil.disk_usage(out).free
  if free < needed:
    raise UserError(
      f'{out} has {_bytes(free)} free, and about {_bytes(needed)} are needed. '
      'Name another --out, or fewer tasks.'
    )


def _fetch_all(jobs: Sequence[Job], processes: int) -> Mapping[str, str]:
  """Fetches all, and returns why some could not be fetched."""
  failed = {}
  progress = Progress(sum(map(_megabytes, jobs)) or 1, unit='MB')
  done = workers.each(fetch_task, jobs, processes)
  with contextlib.closing(progress), contextlib.closing(done):
    for number, (job, future) in enumerate(done, 1):
      if isinstance(error := future.exception(), UserError | OSError):
        failed[job.task] = str(error)
      else:
        future.result()
      progress.advance(_megabytes(job))
      progress.report(tasks=number, failed=len(failed))
  return failed


@contextlib.contextmanager
def _downloads(out: str) -> Iterator[str]:
  """Where files are downloaded to: what was cut short is there again."""
  if '://' in out:
    with tempfile.TemporaryDirectory() as folder:
      yield folder
  else:
    yield os.path.join(out, '.fetch')


def _megabytes(job: Job) -> int:
  return -(-job.size // _MEGABYTE)


def _bytes(number: float) -> str:
  return f'{number / 1e9:.1f} GB' if number >= 1e9 else f'{number / 1e6:.1f} MB'


if __name__ == '__main__':
  # Reports ask JAX which process this is, for which it would take the devices.
  jax.config.update('jax_platforms', 'cpu')
  sys.exit(cli.guard(fetch, sys.argv, __doc__))
