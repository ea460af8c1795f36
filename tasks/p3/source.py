"""Reads the rows of one P3 task, from whichever layout it lies in.

Three signatures of columns exist: `inputs`, `inputs_pretokenized`, `targets`,
`targets_pretokenized`; the same with `answer_choices`; and that of a twin, with
`idx` (example, choice), `is_correct` and `weight`. Ids are T5's.
"""

from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

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
  """Columns of a task's, or of a twin's, rows as they were published."""
  if task.endswith(catalog.SCORE_EVAL):
    return {**BASE, **TWIN}
  prompt = table.lookup(task)
  lists_choices = prompt is not None and prompt.published_choices
  return {**BASE, **(CHOICES if lists_choices else {})}


def source(
  prompt: table.Prompt, twin: bool = False
) -> seqio.DataSourceInterface:
  """Where a task, or its twin, is read from."""
  # SeqIO's sources may not know their size; its protocol for them does.
  return Source(prompt, twin)  # pyright: ignore[reportReturnType]


class Source(seqio.DataSource):
  """Rows as published, of a task or of a twin.

  A twin that was not published is made from the rows of its task. It has no
  splits where these do not list the answers.
  """

  def __init__(self, prompt: table.Prompt, twin: bool = False):
    self._prompt = prompt
    self._name = prompt.twin if twin else prompt.task
    self._is_made = twin and not prompt.score_eval_rows
    rows = prompt.score_eval_rows if twin else prompt.rows
    splits = tuple(rows or prompt.rows)
    if self._is_made and not (prompt.choices or prompt.published_choices):
      splits = ()  # No answers are known, for it to be made of.
    super().__init__(splits=splits, num_input_examples=dict(rows) or None)

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return False

  def list_shards(self, split: str) -> list[str]:
    """Paths of the files that are read."""
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

    Those to train on have `inputs` and `targets` alone where these are good as
    they are: rows wait in the shuffle buffers of hundreds of tasks, and are
    saved with the position in the data, which their text would double.

    Raises:
      UserError: if they are not there, or not whole.
    """
    files = self.list_shards(split)
    if self._is_made:  # Examples are numbered, hence in order, and all of them.
      rows = _read(files, signature(self._prompt.task), split)
      rows = _one_row_per_choice(rows, self._prompt)
      if shard_info:
        rows = rows.shard(shard_info.num_shards, shard_info.index)
      return rows
    columns = signature(self._name)
    if split == 'train' and self._name == self._prompt.task and is_t5():
      columns = IDS
    return _read(files, columns, split, shuffle, seed, shard_info)


def _read(
  files: list[str],
  columns: Mapping[str, tf.TensorSpec],
  split: str,
  shuffle: bool = False,
  seed: int | None = None,
  shard_info: seqio.ShardInfo | None = None,
) -> tf.data.Dataset:
  if files[0].endswith(folder.PARQUET):
    for file in files:
      parquet.check(file, columns)
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


def _stored(spec: tf.TensorSpec):
  """How a column lies in a tf.Example: integers and bools as int64."""
  small = spec.dtype in (tf.int32, tf.bool)
  dtype = tf.int64 if small else spec.dtype
  if spec.shape.rank:
    return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
  return tf.io.FixedLenFeature([], dtype)


def _one_row_per_choice(
  rows: tf.data.Dataset, prompt: table.Prompt
) -> tf.data.Dataset:
  """Makes a twin's rows, as P3's published ones were made."""
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
