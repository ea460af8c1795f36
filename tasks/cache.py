"""Caches SeqIO tasks in parallel processes, without apache_beam.

  python -m tasks.cache --tasks=NAME,NAME --out=DIR
      [--module_import=my_tasks,...] [--splits=train,validation]
      [--num_shards=N] [--workers=N] [--overwrite] [--dry_run]
      [--seqio_additional_cache_dirs=DIR,DIR]

writes rows as they are at CacheDatasetPlaceholder to DIR/NAME, where SeqIO's
`use_cached=True` reads them. A mixture's name stands for all its tasks. What is
there and whole is left alone, so that the same command goes on.

  --module_import  modules that register the tasks; tasks.mini unless given
  --splits         all that a task has unless given
  --num_shards     files a split; as many as its source has unless given. A
                   source with fewer is read once a shard, and must then give
                   its rows in the same order each time
  --workers        processes, each of about 1 GB; 0 or 1 starts none
  --overwrite      delete what is whole, too; leave this out to go on
  --seqio_additional_cache_dirs  where P3's tasks are read from
  --dry_run        say how many files of a split would be written
"""

import collections
import contextlib
import importlib
import itertools
import os
import shlex
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
from moe_lite.process import cli
from moe_lite.process.quiet_tensorflow import import_tensorflow
from tasks import workers

# TensorFlow is loaded when the command line is known to be right, and without
# its notices: hence the imports within functions.


def cache(argv: Sequence[str]) -> None:
  """See the module's docstring; raises UserError for a mistake."""
  values = _parse(argv)
  import_tensorflow()
  cli.add_cache_dirs(values.seqio_additional_cache_dirs)
  for module in values.module_import:
    with _told(f'--module_import: {module!r} cannot be imported'):
      importlib.import_module(module)
  plan = _plan(_find(values.tasks), values)
  if whole := sum(not parts for parts in plan.values()):
    say(f'{whole} of {len(plan)} tasks are whole in {values.out}: left alone.')
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
  """Turns what the user's modules and files raise into UserErrors."""
  try:
    yield
  except UserError as error:
    raise UserError(f'{what}: {error}') from error
  except Exception as error:
    # Ours, Python's and installed ones.
    known = sysconfig.get_path('stdlib'), sysconfig.get_path('purelib')
    known = ('<', __file__.removesuffix('.py'), *known)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(known)]
    at = f' ({theirs[-1].filename}, line {theirs[-1].lineno})' if theirs else ''
    raise UserError(f'{what}: {type(error).__name__}: {error}{at}') from error


def _find(names: Sequence[str]) -> dict[str, Any]:
  """The tasks of that name and of mixtures, by name."""
  import seqio

  known = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
  found = {}
  for name in names:
    if name not in known:
      raise UserError(
        f'--tasks: {name!r} is no registered task or mixture.'
        f'{nearest(name, known)} --module_import registers them.'
      )
    provider = seqio.get_mixture_or_task(name)
    tasks = [provider] if isinstance(provider, seqio.Task) else provider.tasks
    cacheable = {task.name: task for task in tasks if task.supports_caching}
    if others := [task.name for task in tasks if not task.supports_caching]:
      text = (
        f'--tasks={name}: without seqio.CacheDatasetPlaceholder() among their '
        f'preprocessors, tasks cannot be cached: {", ".join(others)}.'
      )
      if not cacheable:
        raise UserError(text)
      say(text)
    found |= cacheable
  return found


def _plan(
  tasks: Mapping[str, Any], values: flags.FlagValues
) -> dict[epath.Path, list[Any]]:
  """The `cache_parts.Part`s that are to be written, by the task's folder."""
  from tasks import cache_parts

  with _told('--tasks'):
    splits = {name: set(task.splits) for name, task in tasks.items()}
  known = set().union(*splits.values())
  for split in set(values.splits) - known:
    raise UserError(
      f'--splits: no task has {split!r}.{nearest(split, known)} There is '
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
  """Writes the files, completes what is whole, and says how to read it."""
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
    f'{rows:,} rows written. Read what is in {values.out} with',
    f'  --seqio_additional_cache_dirs={shlex.quote(values.out)} '
    '--gin.USE_CACHED_TASKS=True',
  )


def _write(part: Any) -> Any:
  from tasks import cache_parts

  with _told(f'Task {part.task!r}, split {part.split!r}'):
    return cache_parts.write_part(part)


if __name__ == '__main__':
  # Reports ask JAX which process this is, for which it would take the devices.
  jax.config.update('jax_platforms', 'cpu')
  sys.exit(cli.guard(cache, sys.argv, __doc__))
