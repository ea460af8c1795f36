"""Finds the tasks and mixtures that modules registered with SeqIO."""

from collections.abc import Sequence

import seqio
from etils import epath

from moe_lite.core.errors import UserError, nearest


def find(name: str) -> seqio.Task | seqio.Mixture:
  """Returns the task or mixture of a name.

  'a+b' is the mixture of all tasks of `a` and `b`, at the rates that they have
  there.

  Raises:
    UserError: if there is none. The message names the nearest ones.
  """
  names = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
  if name not in names and '+' in name:
    tasks = {
      task: provider.get_rate(task)
      if isinstance(provider, seqio.Mixture)
      else 1.0
      for provider in map(find, name.split('+'))
      for task in tasks_of(provider)
    }
    return seqio.Mixture(name, list(tasks.items()))
  if name not in names:
    raise UserError(
      f'MIXTURE_OR_TASK_NAME = {name!r} is not among the {len(names)} '
      f'registered tasks and mixtures.{nearest(name, names)} A gin/data file '
      'imports the module that registers it.'
    )
  return seqio.get_mixture_or_task(name)


def splits_of(task: seqio.Task) -> Sequence[str]:
  """Returns the names of a task's splits; none if SeqIO knows of none."""
  try:
    return task.splits
  except ValueError:
    return ()


def tasks_of(provider: seqio.Task | seqio.Mixture) -> Sequence[seqio.Task]:
  return [provider] if isinstance(provider, seqio.Task) else provider.tasks


def cache_files(task: seqio.Task, split: str) -> list[str]:
  """The files of a split in the cache of a task."""
  assert task.cache_dir is not None
  found = epath.Path(task.cache_dir).glob(f'{split}.tfrecord-*')
  return sorted(map(str, found))
