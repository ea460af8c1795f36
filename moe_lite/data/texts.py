"""Tasks of texts, which SeqIO tokenizes and ends with EOS, and nothing else.

Their preprocessors make exactly one example of each, always the same. So it
does not matter where and when they run, and both functions here make the same
examples as SeqIO in less time.

SeqIO builds a pipeline for each task. TensorFlow traces the same functions for
every one, and copies the whole vocabulary into it. SeqIO also shuffles examples
that are preprocessed, so that a first batch waits until the shuffle buffers of
all tasks are full of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from moe_lite.data import task_ids
from moe_lite.data.registry import splits_of

_TEXT = tf.TensorSpec([], tf.string)


def get_dataset(
  provider: seqio.Task | seqio.Mixture,
  lengths: Mapping[str, int],
  split: str,
  use_cached: bool,
  numbered_by: str | None = None,
  **options: Any,
) -> tf.data.Dataset:
  """Returns the endless stream of `provider.get_dataset`.

  Tasks of texts are shuffled and mixed before they are preprocessed.

  Args:
    provider: the task or mixture.
    lengths: how many tokens an example has at most; longer ones are trimmed.
    split: the split to read.
    use_cached: whether to read what `seqio_cache_tasks` wrote.
    numbered_by: what the numbers of tokens stand for; see `task_ids.names`.
      With None, tokens have no numbers.
    **options: `shuffle`, `seed` and `shard_info`, as SeqIO has them.
  """
  # With `try_in_mem_cache`, a saved position would hold the whole cache.
  options.update(split=split, num_epochs=None, try_in_mem_cache=False)
  tasks = [] if use_cached else _tasks_of_texts(provider, split)
  if numbered_by:
    lengths = task_ids.lengths(lengths)
  if not tasks:
    if numbered_by:
      provider = task_ids.numbered(provider, numbered_by)
    return provider.get_dataset(lengths, use_cached=use_cached, **options)
  numbers = task_ids.numbers(provider, numbered_by) if numbered_by else {}
  mixed = _mixed_texts(provider, tasks, numbers, options)
  texts = seqio.FunctionDataSource(
    lambda split, shuffle_files=False, seed=None: mixed, splits=(split,)
  )
  # SeqIO allows no plus in the name of a task; see `registry.find`.
  name = provider.name.replace('+', '.')
  whole = tasks[0].replace(name=name, source=texts)
  if numbers:
    whole = whole.replace(
      preprocessors=[*whole.preprocessors, task_ids.spread],
      output_features=task_ids.with_ids(whole.output_features),
    )
  options.update(shuffle=False, shard_info=None, num_epochs=1)
  # TensorFlow need not search the source code of SeqIO's own two preprocessors
  # for a Python `if` over tensors, which takes it a second. They have none.
  build = tf.autograph.experimental.do_not_convert(whole.get_dataset)
  return build(lengths, **options)


def rows(
  task: seqio.Task, split: str, most: int | None
) -> list[dict[str, Any]] | None:
  """Returns the examples that `task.get_dataset` gives, untrimmed, in order.

  Args:
    task: the task.
    split: the split to read.
    most: how many examples to read. None reads all.

  Returns:
    A dict of NumPy arrays for each example; None if the task is not one of
    texts, or if its vocabulary is not one of SentencePiece.
  """
  features = task.output_features
  if not _is_of_texts(task, split) or not all(
    isinstance(feature.vocabulary, seqio.SentencePieceVocabulary)
    for feature in features.values()
  ):
    return None
  source = task.source.get_dataset(split, shuffle=False)
  found = list(source.take(-1 if most is None else most).as_numpy_iterator())
  for name, feature in features.items() if found else ():
    texts = [row[name] for row in found]
    # All at once, because a tokenizer takes longer to make than to use.
    ids = feature.vocabulary.encode_tf(tf.constant(texts))
    ends = ids.row_splits.numpy()[1:-1]
    end = [feature.vocabulary.eos_id] if feature.add_eos else []
    for row, one in zip(found, np.split(ids.values.numpy(), ends), strict=True):
      row[f'{name}_pretokenized'] = row[name]
      row[name] = np.append(one, np.array(end, one.dtype))
  return found


def _tasks_of_texts(
  provider: seqio.Task | seqio.Mixture, split: str
) -> list[seqio.Task]:
  """The tasks of a mixture that have the split; none unless all are alike."""
  if not isinstance(provider, seqio.Mixture):
    return []
  tasks = [task for task in provider.tasks if split in splits_of(task)]
  if len(tasks) < 2 or not all(
    _is_of_texts(task, split)
    and task.output_features == tasks[0].output_features
    for task in tasks
  ):
    return []
  return tasks


def _mixed_texts(
  provider: Any,
  tasks: Sequence[seqio.Task],
  numbers: Mapping[str, int],
  options: Mapping[str, Any],
) -> tf.data.Dataset:
  """The stream of a mixture of these tasks before it is preprocessed."""
  text = seqio.Feature(
    seqio.PassThroughVocabulary(0), add_eos=False, dtype=tf.string, rank=0
  )
  features = dict.fromkeys(provider.output_features, text)
  if numbers:
    features = task_ids.with_number(features)
  mixture = task_ids.mixture_of(
    provider,
    {
      task.name: task.replace(
        preprocessors=(
          [task_ids.attach(numbers[task.name])] if numbers else ()
        ),
        output_features=features,
      )
      for task in tasks
    },
  )
  return mixture.get_dataset(trim_output_features=False, **options)


def _is_of_texts(task: seqio.Task, split: str) -> bool:
  steps = [
    step
    for step in task.preprocessors
    if not isinstance(step, seqio.CacheDatasetPlaceholder)
  ]
  if steps != [seqio.preprocessors.tokenize, seqio.preprocessors.append_eos]:
    return False
  columns = task.source.get_dataset(split, shuffle=False).element_spec
  return all(columns.get(name) == _TEXT for name in task.output_features)
