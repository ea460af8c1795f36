"""Reads the rows of one P3 task, in whichever layout it lies.

There are three signatures. The first has the columns `inputs`,
`inputs_pretokenized`, `targets` and `targets_pretokenized`. The second adds
`answer_choices`. The third is that of twins; it adds `idx` (example, choice),
`is_correct` and `weight` to the first. Ids are those of T5's vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

from moe_lite.core.progress import say
from moe_lite.data import catalog
from tasks.p3 import folder, parquet, table
from tasks.p3.vocabulary import is_t5, load, target_ids

_IDS = tf.TensorSpec([None], tf.int32)
_TEXT = tf.TensorSpec([], tf.string)

IDS: Mapping[str, tf.TensorSpec] = {'inputs': _IDS, 'targets': _IDS}
BASE: Mapping[str, tf.TensorSpec] = {
  **IDS,
  'inputs_pretokenized': _TEXT,
  'targets_pretokenized': _TEXT,
}
CHOICES = {'answer_choices': tf.TensorSpec([None], tf.string)}
TWIN = {
  'idx': _IDS,
  'is_correct': tf.TensorSpec([], tf.bool),
  'weight': tf.TensorSpec([], tf.float32),
}


def signature(task: str) -> dict[str, tf.TensorSpec]:
  """The columns of the published rows of a task or of a twin."""
  if task.endswith(catalog.SCORE_EVAL):
    return {**BASE, **TWIN}
  prompt = table.lookup(task)
  lists_choices = prompt is not None and prompt.published_choices
  return {**BASE, **(CHOICES if lists_choices else {})}


def source(
  prompt: table.Prompt, twin: bool = False
) -> seqio.DataSourceInterface:
  """The source of a task or of its twin."""
  # SeqIO's protocol for sources demands a size, which its own sources may lack.
  return Source(prompt, twin)  # pyright: ignore[reportReturnType]


class Source(seqio.DataSource):
  """The published rows of a task or of a twin.

  A twin that was not published is made from the rows of its task. If these do
  not list the answers, the twin has no splits.
  """

  def __init__(self, prompt: table.Prompt, twin: bool = False):
    self._prompt = prompt
    self._name = prompt.twin if twin else prompt.task
    self._is_made = twin and not prompt.score_eval_rows
    rows = prompt.score_eval_rows if twin else prompt.rows
    splits = tuple(rows or prompt.rows)
    if self._is_made and not (prompt.choices or prompt.published_choices):
      splits = ()  # The answers are unknown, so it cannot be made.
    super().__init__(splits=splits, num_input_examples=dict(rows) or None)

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return False

  def list_shards(self, split: str) -> list[str]:
    """The paths of the files that are read."""
    name = self._prompt.task if self._is_made else self._name
    return folder.find(name).files(split)

  def get_dataset(
    self,
    split: str,
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
  ) -> tf.data.Dataset:
    """Rows with the columns of the task's signature.

    Rows to train on have only `inputs` and `targets`, unless they must be
    tokenized anew. They wait in the shuffle buffers of hundreds of tasks, which
    are saved with the position in the data. The text of the rows would double
    their size.

    Raises:
      UserError: if the data are not there, or not whole.
    """
    files = self.list_shards(split)
    is_twin = self._name == self._prompt.twin
    name = self._prompt.task if self._is_made else self._name
    columns = (
      IDS if split == 'train' and not is_twin and is_t5() else signature(name)
    )
    if files[0].endswith(folder.PARQUET):
      found = sum(parquet.check(file, columns) for file in files)
      _tell_missing(name, split, found)
    if not self._is_made:
      return _read(files, columns, split, shuffle, seed, shard_info)
    # Examples are numbered, so all are read in order.
    rows = _one_row_per_choice(_read(files, columns, split), self._prompt)
    if shard_info:
      rows = rows.shard(shard_info.num_shards, shard_info.index)
    return rows


def _read(
  files: list[str],
  columns: Mapping[str, tf.TensorSpec],
  split: str,
  shuffle: bool = False,
  seed: int | None = None,
  shard_info: seqio.ShardInfo | None = None,
) -> tf.data.Dataset:
  if files[0].endswith(folder.PARQUET):
    read = lambda file: tf.data.Dataset.from_generator(
      lambda path: parquet.examples(path.decode(), tuple(columns)),
      args=(file,),
      output_signature=dict(columns),
    )
  else:
    stored = {name: _stored(spec) for name, spec in columns.items()}

    def parse(record):
      row = tf.io.parse_single_example(record, stored)
      return {name: tf.cast(x, columns[name].dtype) for name, x in row.items()}

    read = lambda file: tf.data.TFRecordDataset(file).map(
      parse, num_parallel_calls=tf.data.AUTOTUNE
    )
  source = seqio.FileDataSource(read, {split: files})
  return source.get_dataset(split, shuffle, seed, shard_info)


@functools.cache
def _tell_missing(task: str, split: str, found: int) -> None:
  """Says once if a copy has fewer rows of a split than were published.

  Not every layout says how many files a split has, so one may be missing.
  """
  published = table.published_rows(task).get(split, found)
  if found < published:
    say(
      f'Task {task!r}: the copy has {found:,} of the {published:,} rows that '
      f'were published of split {split!r}. It may lack files.'
    )


def _stored(spec: tf.TensorSpec):
  """How a tf.Example holds a column. Integers and booleans are int64 there."""
  small = spec.dtype in (tf.int32, tf.bool)
  dtype = tf.int64 if small else spec.dtype
  if spec.shape.rank:
    return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
  return tf.io.FixedLenFeature([], dtype)


def _one_row_per_choice(
  rows: tf.data.Dataset, prompt: table.Prompt
) -> tf.data.Dataset:
  """Makes the rows of a twin as the published ones were made."""
  load()

  def choices_of(index, row):
    choices = row.get('answer_choices', tf.constant(prompt.choices))
    number = tf.shape(choices)[0]
    target = tf.strings.strip(row['targets_pretokenized'])
    repeat = lambda x: tf.repeat(tf.expand_dims(x, 0), number, 0)
    columns: Any = {
      'idx': tf.stack(
        [tf.repeat(tf.cast(index, tf.int32), number), tf.range(number)], 1
      ),
      'inputs': repeat(row['inputs']),
      'inputs_pretokenized': repeat(row['inputs_pretokenized']),
      'targets_pretokenized': choices,
      'is_correct': tf.equal(choices, target),
      'weight': tf.ones([number]),
    }
    return tf.data.Dataset.from_tensor_slices(columns)

  def tokenize(row):
    return {**row, 'targets': target_ids(row['targets_pretokenized'])}

  numbered: Any = rows.enumerate()
  return numbered.flat_map(choices_of).map(
    tokenize, num_parallel_calls=tf.data.AUTOTUNE
  )
