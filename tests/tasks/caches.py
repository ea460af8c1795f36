"""Reads rows from caches and from sources, to compare them."""

import seqio
import tensorflow as tf

# The name that tests/tasks/tasks_to_cache.py is imported by.
MODULE = 'tasks_to_cache'


def read_rows(name, split, folder=None):
  """Rows in order, from the cache in a folder or from the source."""
  # SeqIO remembers where it found a task's cache.
  task = seqio.TaskRegistry.get(name).replace()
  if folder is not None:
    seqio.set_global_cache_dirs([str(folder)])
  rows = task.get_dataset(
    {'inputs': 64, 'targets': 64},
    split=split,
    use_cached=folder is not None,
    shuffle=False,
  )
  return [
    {key: (row[key].dtype.name, plain(row[key])) for key in sorted(row)}
    for row in rows
  ]


def plain(value):
  if isinstance(value, tf.RaggedTensor):
    return value.to_list()
  value = value.numpy()
  return value if isinstance(value, bytes) else value.tolist()


def sort_rows(rows):
  return sorted(rows, key=repr)
