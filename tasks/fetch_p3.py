"""Fetches P3 from the Hugging Face Hub, as SeqIO caches.

  python -m tasks.fetch_p3 --mixture=NAME | --tasks=NAME,NAME  --out=DIR
      [--revision=main] [--num_shards=1] [--workers=N] [--dry_run]

downloads the data that the tasks of a mixture are read from, writes a folder
for each task, and checks the numbers of rows against the table of P3's tasks. A
task that is there and whole is left alone, so the same command goes on after an
interruption. It goes on with the commit that the first call found.

  --mixture     t0_train, t0_eval_score_eval, ...: see tasks/README.md
  --tasks       tasks by their names, in place of a mixture
  --out         a folder, or a bucket such as gs://bucket/p3
  --revision    the revision of the data set's repository
  --num_shards  the number of files of a split; take as many as there are hosts
                to read them
  --workers     the number of processes, each of about 1 GB; 0 or 1 starts none
  --dry_run     only print what would be fetched, and how large it is

The environment variable HF_ENDPOINT names another hub, and HF_TOKEN an account.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import jax
from absl import flags
from etils import epath

from moe_lite.core import json_text
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.progress import Progress, say
from moe_lite.process import cli, shell
from moe_lite.process.quiet_tensorflow import import_tensorflow
from tasks import workers
from tasks.p3 import hub, table
from tasks.p3.fetching import Job, fetch_task

PINNED = 'fetch.json'
_PARQUET = '.parquet'
# There is no room, or no right to write. The other tasks would fail, too.
_NO_USE_IN_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
# Buckets that both TensorFlow and epath can write to.
_REMOTE = ('gs://', 's3://')
# A cache takes more room than the compressed files that are downloaded. The
# published sizes of the first tasks give a factor of 3.2.
_GROWS = 3.5
_MEGABYTE = 10**6


def fetch(argv: Sequence[str]) -> None:
  """Runs the command that the module's docstring describes.

  Raises:
    UserError: for a mistake in the command line, or if a task could not be
      fetched.
  """
  values = _parse(argv)
  names = _configurations(values)
  commit = _commit(values.out, values.revision)
  missing = [name for name in names if not _is_whole(values.out, name)]
  if len(missing) < len(names):
    say(f'{len(names) - len(missing)} of {len(names)} tasks are there already.')
  files = _files(missing, commit)
  sizes = {name: sum(of.values()) for name, of in files.items()}
  size = sum(sizes.values())
  rows = sum(sum(table.published_rows(name).values()) for name in files)
  say(
    f'{len(files)} tasks, {sum(map(len, files.values()))} files, '
    f'{rows:,} rows: {_bytes(size)} to download, about '
    f'{_bytes(_GROWS * size)} on disk. Commit {commit}.'
  )
  if values.dry_run:
    for name in files:
      print(f'{sizes[name] / _MEGABYTE:10.1f} MB  {name}')
    return
  _pin(values.out, values.revision, commit)
  _check_space(values.out, _GROWS * size)
  import_tensorflow()
  with downloads(values.out) as folder:
    jobs = [
      Job(
        task=name,
        files=tuple(of),
        size=sizes[name],
        commit=commit,
        out=values.out,
        downloads=folder,
        num_shards=values.num_shards,
      )
      for name, of in files.items()
    ]
    failed = _fetch_all(jobs, values.workers)
  if failed:
    reasons = [f'  {task}: {reason}' for task, reason in failed.items()]
    raise UserError(
      '\n'.join(
        [
          f'{len(failed)} of {len(names)} tasks are not there:',
          *reasons,
          'The same command tries them again and leaves the others alone.',
        ]
      )
    )
  say(
    f'All {len(names)} tasks are in {values.out}. To read them, add',
    '  ' + shell.quote(f'--seqio_additional_cache_dirs={values.out}'),
  )


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
  if '://' in values.out and not values.out.startswith(_REMOTE):
    raise UserError(
      f'--out={values.out} must be a folder here, or begin with '
      f'{" or ".join(_REMOTE)}.'
    )
  if epath.Path(values.out).is_file():
    raise UserError(f'--out={values.out} is a file; name a folder.')
  return values


def _configurations(values: flags.FlagValues) -> tuple[str, ...]:
  """The names of the published configurations to fetch."""
  if values.mixture:
    if values.mixture not in table.MIXTURES:
      raise UserError(
        f'--mixture={values.mixture} is not a mixture of P3. There are '
        f'{", ".join(table.MIXTURES)}.'
        f'{nearest(values.mixture, table.MIXTURES)}'
      )
    tasks = table.members(values.mixture)
  else:
    tasks = tuple(values.tasks)
  known = _known()
  for task in tasks:
    if task not in known:
      raise UserError(
        f'--tasks: P3 has no task {task!r}.{nearest(task, known)}'
      )
    if not table.configurations([task]):
      raise UserError(f'Task {task!r} was never published.')
  return table.configurations(tasks)


def _known() -> set[str]:
  """The names of all tasks, and of the twins of tasks with answer choices."""
  prompts = table.prompts()
  return {*prompts, *(p.twin for p in prompts.values() if p.has_choices)}


def _is_whole(out: str, task: str) -> bool:
  folder = epath.Path(out) / task
  if not folder.exists():
    return False
  splits = table.published_rows(task)
  wanted = {'COMPLETED', *(f'info.{split}.json' for split in splits)}
  return wanted <= {file.name for file in folder.iterdir()}


def _commit(out: str, revision: str) -> str:
  """The commit that the tasks of this folder come from, or will come from."""
  path = epath.Path(out) / PINNED
  if not path.exists():
    return hub.commit(revision)
  try:
    pinned = json.loads(path.read_text())
    first, commit = pinned['revision'], pinned['commit']
  except (ValueError, TypeError, KeyError) as error:
    raise UserError(
      f'{path} is damaged: it does not say which commit {out} holds. Delete '
      f'this file if the tasks in {out} came from this --revision, or name '
      'another --out.'
    ) from error
  if revision not in (first, commit):
    raise UserError(
      f'{out} holds revision {first} (commit {commit}), not '
      f'--revision={revision}. Name another --out.'
    )
  return commit


def _pin(out: str, revision: str, commit: str) -> None:
  """Writes down which commit the tasks of a folder come from."""
  path = epath.Path(out) / PINNED
  pinned = {
    'repository': hub.REPOSITORY,
    'revision': revision,
    'commit': commit,
  }
  partial = path.with_suffix('.partial')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json_text.dumps(pinned, indent=2) + '\n')
    partial.replace(path)
  except OSError as error:
    raise UserError(f'--out={out} cannot be written: {error}') from error


def _files(names: Sequence[str], commit: str) -> dict[str, dict[str, int]]:
  """The files of each task with their bytes, the largest task first."""
  files: dict[str, dict[str, int]] = {name: {} for name in names}
  for path, size in hub.files(commit) if names else ():
    folder, _, name = path.rpartition('/')
    if folder in files and name.endswith(_PARQUET):
      files[folder][path] = size
  if absent := [name for name in names if not files[name]]:
    others = f' and of {len(absent) - 1} more' if len(absent) > 1 else ''
    raise UserError(
      f'Commit {commit} of {hub.REPOSITORY} has no parquet files of '
      f'{absent[0]!r}{others}. Give --revision=main and a new --out.'
    )
  by_size = lambda item: -sum(item[1].values())
  return dict(sorted(files.items(), key=by_size))


def _check_space(out: str, needed: float) -> None:
  if '://' in out:
    return
  free = shutil.disk_usage(out).free
  if free < needed:
    raise UserError(
      f'{out} has {_bytes(free)} free, and about {_bytes(needed)} are needed. '
      'Name another --out or fewer tasks.'
    )


def _fetch_all(jobs: Sequence[Job], processes: int) -> Mapping[str, str]:
  """Fetches all tasks.

  Returns:
    For each task that could not be fetched, the reason.
  """
  failed = {}
  progress = Progress(sum(map(_megabytes, jobs)) or 1, unit='MB')
  done = workers.each(fetch_task, jobs, processes)
  with contextlib.closing(progress), contextlib.closing(done):
    for number, (job, future) in enumerate(done, 1):
      error = future.exception()
      if isinstance(error, OSError) and error.errno in _NO_USE_IN_MORE:
        raise UserError(f'{job.task}: {error}. The same command goes on.')
      if error:
        failed[job.task] = _reason(error)
      progress.advance(_megabytes(job))
      progress.report(tasks=number, failed=len(failed))
  return failed


def _reason(error: BaseException) -> str:
  """The message of an error, in one line.

  For an error of another package the line begins with the error's type.
  """
  text = ' '.join(str(error).split())
  if isinstance(error, UserError):
    return text
  return f'{type(error).__name__}: {text}'


@contextlib.contextmanager
def downloads(out: str) -> Iterator[str]:
  """The local folder that files are downloaded to.

  The files of a failed task wait there for the next call. If `out` is a bucket
  they do not, since the next call may come from another machine.
  """
  if '://' in out:
    with tempfile.TemporaryDirectory() as folder:
      yield folder
    return
  folder = os.path.join(out, '.fetch')
  yield folder
  with contextlib.suppress(OSError):  # Files may wait there.
    os.rmdir(folder)


def _megabytes(job: Job) -> int:
  return -(-job.size // _MEGABYTE)


def _bytes(number: float) -> str:
  return f'{number / 1e9:.1f} GB' if number >= 1e9 else f'{number / 1e6:.1f} MB'


if __name__ == '__main__':
  # Reports ask JAX which process this is, and JAX would take all devices to
  # say.
  jax.config.update('jax_platforms', 'cpu')
  sys.exit(cli.guard(fetch, sys.argv, __doc__))
