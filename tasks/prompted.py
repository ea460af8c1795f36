"""Tasks from prompts: examples in, a SeqIO task and its ranked twin out.

`add` registers a data set under one prompt: a task with a row an example, to
train on and to generate for, and, where there are choices, its `_score_eval`
twin with a row a choice, to rank. Rows have P3's features.
"""

import csv
import dataclasses
import functools
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import seqio
import tensorflow as tf
from etils import epath

from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from tasks import rank_classification


@dataclasses.dataclass(frozen=True)
class Example:
  """One example under a prompt.

  Attributes:
    inputs: the prompt.
    target: the right answer.
    choices: the answers on offer, the right one among them; () for free text.
  """

  inputs: str
  target: str
  choices: Sequence[str] = ()


def add(
  info: catalog.TaskInfo,
  examples: Callable[[str], Iterable[Example]],
  splits: Sequence[str],
  features: Mapping[str, Any],
  ranked: bool = True,
  metric_fns: Sequence[Callable[..., Any]] = (),
) -> None:
  """Registers a task, and its twin if it is ranked.

  Args:
    info: the task's name and its place in the suite. The twin's name is the
      same with `_score_eval` after it.
    examples: of a split. Called when the split is first read, and once.
    splits: their names.
    features: inputs and targets, with the vocabulary of the base.
    ranked: False for free text, which has no choices and no twin.
    metric_fns: what generated text is measured by, see `tasks.metrics`.
  """
  read_once = functools.cache(lambda split: tuple(examples(split)))
  options = {
    'preprocessors': (
      seqio.preprocessors.tokenize,
      seqio.CacheDatasetPlaceholder(),
      seqio.preprocessors.append_eos,
    ),
    'output_features': features,
  }
  seqio.TaskRegistry.add(
    info.name,
    source=column_source(lambda split: _rows(read_once(split), ranked), splits),
    metric_fns=list(metric_fns),
    **options,
  )
  if ranked:
    seqio.TaskRegistry.add(
      info.name + catalog.SCORE_EVAL,
      source=column_source(
        lambda split: _rows_by_choice(info.name, read_once(split)), splits
      ),
      postprocess_fn=rank_classification.keep_row,
      metric_fns=[rank_classification.accuracy],
      **options,
    )
  catalog.add(info)


def column_source(
  columns: Callable[[str], Mapping[str, Sequence[Any]]], splits: Sequence[str]
) -> seqio.DataSourceInterface:
  """A source whose columns are made when a split is first read."""
  columns = functools.cache(columns)

  def dataset(
    split: str, shuffle_files: bool = False, seed: int | None = None
  ) -> tf.data.Dataset:
    del shuffle_files, seed  # There are no files.
    if not columns(split) or not len(next(iter(columns(split).values()))):
      raise UserError(f'Split {split!r} has no examples.')
    return tf.data.Dataset.from_tensor_slices(cast(Any, columns(split)))

  # SeqIO's sources may not know their size; its protocol for them does.
  return seqio.FunctionDataSource(  # pyright: ignore[reportReturnType]
    dataset, splits=tuple(splits)
  )


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """Rows of a JSONL file, or of a CSV file with a header.

  Raises:
    UserError: if there is no such file, or a line of it is damaged.
  """
  path = epath.Path(path)
  if not path.exists():
    raise UserError(f'There is no file {path}.')
  text = path.read_text()
  if path.suffix == '.csv':
    return list(csv.DictReader(io.StringIO(text, newline='')))
  rows = []
  for number, line in enumerate(text.split('\n'), 1):
    if line.strip():
      try:
        rows.append(json.loads(line))
      except ValueError as error:
        raise UserError(f'{path}, line {number}: {error}.') from error
  return rows


def _rows(examples: Sequence[Example], ranked: bool) -> dict[str, Any]:
  """One row an example, a list a column."""
  columns = {
    'inputs': [example.inputs for example in examples],
    'targets': [example.target for example in examples],
  }
  if ranked:
    choices = [list(example.choices) for example in examples]
    columns['answer_choices'] = tf.ragged.constant(choices, dtype=tf.string)
  return columns


def _rows_by_choice(name: str, examples: Sequence[Example]) -> dict[str, Any]:
  """One row a choice."""
  columns: dict[str, list[Any]] = defaultdict(list)
  for i, example in enumerate(examples):
    if example.target not in example.choices:
      raise UserError(
        f'Task {name!r}, example {i}: its target {example.target!r} is none of '
        f'its choices, {list(example.choices)}.'
      )
    for j, choice in enumerate(example.choices):
      columns['idx'].append([i, j])
      columns['inputs'].append(example.inputs)
      columns['targets'].append(choice)
      columns['is_correct'].append(choice == example.target)
      columns['weight'].append(1.0)
  return columns
