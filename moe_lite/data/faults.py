"""Names the task, the file and the reason when data cannot be read."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf
from absl import logging

from moe_lite.core.errors import UserError
from moe_lite.core.logs import verbosity
from moe_lite.core.progress import say
from moe_lite.data.registry import (
  cache_files,
  find,
  splits_of,
  tasks_of,
)
from moe_lite.process import boundary

# How many examples of each task are read to find one that cannot be. Most tasks
# fail at the first, and a mixture may have hundreds of them.
_TRIED = (1, 1000)


@contextlib.contextmanager
def reading(name: str, split: str, use_cached: bool = False) -> Iterator[None]:
  """Turns errors of missing or damaged data within the block into UserErrors.

  Args:
    name: the name of the task or mixture that is read.
    split: the name of the split.
    use_cached: whether its cache is read.
  """
  try:
    yield
  except (UserError, StopIteration):
    raise
  except tf.errors.DataLossError as error:
    # TensorFlow does not say which file is damaged. There may be hundreds.
    say(f'A file of {name!r} is damaged ({error.message}). Looking for it.')
    task, file = _damaged(find(name), split, use_cached)
    raise UserError(
      f'Task {task!r}: {file} is damaged or cut short ({error.message}). '
      'Move the folder of the task away, and fetch or make it again. Nothing '
      'that was saved is lost: run the same command again to go on.'
    ) from error
  except Exception as error:
    task, cause = _failing(find(name), split, use_cached) or (name, error)
    if task != name:
      task = f'{task!r}, a task of {name!r},'
    else:
      task = repr(task)
    explained = boundary.explain(cause)
    reason = str(explained) if explained else _said(cause)
    raise UserError(
      f'Split {split!r} of {task} cannot be read: {reason}'
    ) from error


def _failing(
  provider: seqio.Task | seqio.Mixture, split: str, use_cached: bool
) -> tuple[str, Exception] | None:
  """Looks for the task that cannot be read, and why; None if all can."""
  for tried, task in itertools.product(_TRIED, tasks_of(provider)):
    if split not in splits_of(task):
      continue
    cached = use_cached and task.supports_caching
    if cached and task.cache_dir and not cache_files(task, split):
      return task.name, UserError(
        f'its cache {task.cache_dir} has no files of this split. It is '
        'incomplete, or the split has no rows.'
      )
    try:
      with verbosity(logging.FATAL):
        examples = task.get_dataset(
          None, split, cached, shuffle=False, try_in_mem_cache=False
        )
        for _ in examples.take(tried):
          pass
    except Exception as error:
      return task.name, error
  return None


def without_rows(name: str, split: str, use_cached: bool) -> list[str]:
  """Returns the names of the tasks that have a split, and no rows in it."""
  found = []
  for task in tasks_of(find(name)):
    if split in splits_of(task):
      examples = task.get_dataset(
        None,
        split,
        use_cached and task.supports_caching,
        shuffle=False,
        try_in_mem_cache=False,
      )
      if not list(examples.take(1)):
        found.append(task.name)
  return found


def check_ids(
  rows: Mapping[str, np.ndarray], vocab_size: int, where: str
) -> None:
  """Checks the ids of a batch, or of an example.

  An embedding answers an id beyond it with another row, and says nothing.

  Args:
    rows: feature to ids. What is not of whole numbers is left out.
    vocab_size: how many rows the embedding has.
    where: what the ids are of, for the message.

  Raises:
    UserError: if an id is negative, or beyond the embedding.
  """
  for name, ids in rows.items():
    ids = np.asarray(ids)
    if ids.dtype.kind not in 'iu' or not ids.size:
      continue
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= vocab_size:
      raise UserError(
        f'{where} has the id {least if least < 0 else most} in {name!r}, and '
        f'the embedding has the rows 0 to {vocab_size - 1}. The task is not '
        "tokenized with the network's vocabulary."
      )


def _said(error: Exception) -> str:
  """The first line of an error, with its type."""
  lines = str(error).strip().splitlines()
  return f'{type(error).__name__}: {lines[0] if lines else "no reason given"}.'


def _damaged(
  provider: seqio.Task | seqio.Mixture, split: str, use_cached: bool
) -> tuple[str, str]:
  """Returns the first task with a file that cannot be read, and the file."""
  for task in tasks_of(provider):
    if split not in splits_of(task):
      continue
    if use_cached and task.cache_dir:
      files = cache_files(task, split)
    else:
      files = [f for f in task.source.list_shards(split) if 'tfrecord' in f]
    for file in files:
      try:
        for _ in tf.data.TFRecordDataset(file):
          pass
      except tf.errors.OpError:
        return task.name, file
  return provider.name, 'a file'
