"""Caches SeqIO tasks in parallel processes, without apache_beam.

  python -m tasks.cache --tasks=NAME,NAME --out=DIR
      [--module_import=my_tasks,...] [--splits=train,validation]
      [--num_shards=N] [--workers=N] [--overwrite] [--dry_run]
      [--seqio_additional_cache_dirs=DIR,DIR]

writes the rows that reach CacheDatasetPlaceholder to DIR/NAME, where SeqIO
reads them with `use_cached=True`. The name of a mixture stands for all its
tasks. A task that is there and whole is left alone, so the same command goes on
after an interruption.

  --module_import  modules that register the tasks; tasks.mini by default
  --splits         the splits to write; all that a task has by default
  --num_shards     the number of files of a split; that of its source by
                   default. A source with fewer files is read once for each
                   shard, and must then give its rows in the same order each
                   time
  --workers        the number of processes, each of about 1 GB; 0 or 1 starts
                   none
  --overwrite      also write tasks that are whole; leave this out to go on
  --seqio_additional_cache_dirs  where P3's tasks are read from
  --dry_run        only print how many files of each split would be written
"""

import collections
import contextlib
import importlib
import itertools
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import flags
from etils import epath

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.progress import Progress, say
from moe_lite.process import cli, shell
from moe_lite.process.quiet_tensorflow import import_tensorflow
from tasks import workers

# Imports within functions: TensorFlow is loaded without its notices, and only
# when the command line is known to be right.


def cache(argv: Sequence[str]) -> None:
  """Runs the command that the module's docstring describes.

  Raises:
    UserError: for a mistake in the command line, or in the tasks.
  """
  values = _parse(argv)
  import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  for module in values.module_import:
    with _told(f'--module_import: {module!r} cannot be imported'):
      importlib.import_module(module)
  plan = _plan(_find(values.tasks), values)
  if whole := sum(not parts for parts in plan.values()):
    say(
      f'{whole} of {len(plan)} tasks are whole in {values.out} and are left '
      'alone.'
    )
  if values.dry_run:
    for folder, parts in plan.items():
      print(folder, dict(collections.Counter(part.split for part in parts)))
    return
  _write_all(plan, values)


def _parse(argv: Sequence[str]) -> flags.FlagValues:
  values = flags.FlagValues()
  flags.DEFINE_list('tasks', [], 'See above.', values)
  flags.DEFINE_list('splits', [], 'See above.', values)
  flags.DEFINE_list('module_import', 'tasks.mini', 'See above.', values)
  flags.DEFINE_list('seqio_additional_cache_dirs', [], 'See above.', values)
  flags.DEFINE_string('out', None, 'Folder to write to.', flag_values=values)
  most = min(os.cpu_count() or 1, 16)
  flags.DEFINE_integer('num_shards', None, 'See above.', 1, flag_values=values)
  flags.DEFINE_integer('workers', most, 'See above.', 0, flag_values=values)
  for name in ('overwrite', 'dry_run'):
    flags.DEFINE_bool(name, False, 'See above.', flag_values=values)
  try:
    _, *rest = values(argv)
  except flags.Error as error:
    raise UserError(f'{error} See --help.') from error
  if rest or not values.tasks or not values.out:
    raise UserError('Give --tasks=NAME,NAME --out=DIR. See --help.')
  values.out = os.path.expanduser(values.out)
  return values


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
  """Turns errors of the user's modules and files into UserErrors."""
  try:
    yield
  except UserError as error:
    raise UserError(f'{what}: {error}') from error
  except Exception as error:
    # Files of this package, of Python and of installed packages.
    known = sysconfig.get_path('stdlib'), sysconfig.get_path('purelib')
    known = ('<', __file__.removesuffix('.py'), *known)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(known)]
    at = f' ({theirs[-1].filename}, line {theirs[-1].lineno})' if theirs else ''
    raise UserError(f'{what}: {type(error).__name__}: {error}{at}') from error


def _find(names: Sequence[str]) -> dict[str, Any]:
  """The tasks with these names, and those of mixtures, by name."""
  import seqio

  known = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
  found = {}
  for name in names:
    if name not in known:
      raise UserError(
        f'--tasks: {name!r} is not a registered task or mixture.'
        f'{nearest(name, known)} --module_import names the modules that '
        'register tasks.'
      )
    provider = seqio.get_mixture_or_task(name)
    tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    cacheable = {task.name: task for task in tasks if task.supports_caching}
    if others := [task.name for task in tasks if not task.supports_caching]:
      text = (
        f'--tasks={name}: tasks whose preprocessors do not include '
        'seqio.CacheDatasetPlaceholder() cannot be cached: '
        f'{", ".join(others)}.'
      )
      if not cacheable:
        raise UserError(text)
      say(text)
    found |= cacheable
  return found


def _plan(
  tasks: Mapping[str, Any], values: flags.FlagValues
) -> dict[epath.Path, list[Any]]:
  """The `cache_parts.Part`s to write, by the folder of their task."""
  from tasks import cache_parts

  with _told('--tasks'):
    splits = {name: set(task.splits) for name, task in tasks.items()}
  known = set().union(*splits.values())
  for split in set(values.splits) - known:
    raise UserError(
      f'--splits: no task has {split!r}.{nearest(split, known)} The tasks have '
      f'{", ".join(sorted(known))}.'
    )
  plan = {}
  for name, task in tasks.items():
    if asked := sorted(splits[name].intersection(values.splits or known)):
      with _told(f'Task {name!r}'):
        folder, parts = cache_parts.plan(
          task, values.out, asked, values.num_shards, values.overwrite
        )
      plan[folder] = parts
  return plan


def _write_all(
  plan: Mapping[epath.Path, Sequence[Any]], values: flags.FlagValues
) -> None:
  """Writes the files, completes whole tasks, and says how to read them."""
  from tasks import cache_parts, cached

  for folder in plan:
    with _told(f'--out: {folder} cannot be written'):
      cached.clear(folder, {part.split for part in plan[folder]})
  everything = list(itertools.chain(*plan.values()))
  written = workers.each(
    _write,
    everything,
    values.workers,
    values.module_import,
    values.seqio_additional_cache_dirs,
  )
  outcomes = collections.defaultdict(dict)
  rows = 0
  progress = Progress(len(everything), unit='file')
  with contextlib.closing(progress), contextlib.closing(written):
    for part, future in written:
      outcome = future.result()
      rows += outcome[1]['examples']
      outcomes[part.folder][part] = outcome
      if len(outcomes[part.folder]) == len(plan[part.folder]):
        with _told(f'Task {part.task!r}'):
          cache_parts.finish_task(part.folder, outcomes.pop(part.folder))
      progress.advance()
      progress.report(**{'thousand rows': rows / 1000})
  say(
    f'{rows:,} rows were written. To read the caches in {values.out}, add',
    '  '
    + shell.line(
      [
        f'--seqio_additional_cache_dirs={values.out}',
        '--gin.USE_CACHED_TASKS=True',
      ]
    ),
  )


def _write(part: Any) -> Any:
  from tasks import cache_parts

  with _told(f'Task {part.task!r}, split {part.split!r}'):
    return cache_parts.write_part(part)


if __name__ == '__main__':
  # Reports ask JAX which process this is, and JAX would take all devices to
  # say.
  jax.config.update('jax_platforms', 'cpu')
  sys.exit(cli.guard(cache, sys.argv, __doc__))
