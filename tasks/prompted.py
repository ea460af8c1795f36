"""Makes a SeqIO task, and its ranked twin, from examples under a prompt.

`add` registers a data set under one prompt. The task has one row for each
example, to train on and to generate text for. If there are answer choices, its
`_score_eval` twin has one row for each choice, to rank. Rows have P3's
features.

White space around a target or a choice is no part of it, as in T0 (arXiv
2110.08207). So an option that a template ends with a space is the same answer.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import seqio
import tensorflow as tf
from etils import epath

from moe_lite.core import text_files
from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from tasks import rank_classification


@dataclasses.dataclass(frozen=True)
class Example:
  """One example under a prompt.

  Attributes:
    inputs: the prompt.
    target: the right answer. White space around it does not count.
    choices: the answers to choose from, with the right one; () for free text.
      White space around them does not count.
    row: the number of the row of the data set that it was made from. The same
      row has the same number under every prompt, so that few shots can be the
      same ones under all of them. None takes the place of the example.
  """

  inputs: str
  target: str
  choices: Sequence[str] = ()
  row: int | None = None


def add(
  info: catalog.TaskInfo,
  examples: Callable[[str], Iterable[Example]],
  splits: Sequence[str],
  features: Mapping[str, Any],
  ranked: bool = True,
  metric_fns: Sequence[Callable[..., Any]] = (),
) -> None:
  """Registers a task, and its twin if the task is ranked.

  Args:
    info: the task's name and its place in the suite. The twin has the same name
      with `_score_eval` after it.
    examples: returns the examples of a split. It is called once, when the split
      is first read.
    splits: the names of the splits.
    features: the features of inputs and targets, with the vocabulary of the
      base.
    ranked: whether there are answer choices, and so a twin. It is False for
      free text.
    metric_fns: the metrics of generated text; see `tasks.metrics`.
  """
  read_once = functools.cache(
    lambda split: tuple(
      _stripped(info.name, split, i, example)
      for i, example in enumerate(examples(split))
    )
  )
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
  """A source whose columns are made when a split is first read.

  Args:
    columns: returns the columns of a split, by name.
    splits: the names of the splits.
  """

  @functools.cache
  def rows(split: str) -> tf.data.Dataset:
    found = columns(split)
    if not found or not len(next(iter(found.values()))):
      raise UserError(f'Split {split!r} has no examples.')
    return tf.data.Dataset.from_tensor_slices(cast(Any, found))

  def dataset(
    split: str, shuffle_files: bool = False, seed: int | None = None
  ) -> tf.data.Dataset:
    del shuffle_files, seed  # There are no files.
    return rows(split)

  # SeqIO's protocol for sources demands a size, which its own sources may lack.
  return seqio.FunctionDataSource(  # pyright: ignore[reportReturnType]
    dataset, splits=tuple(splits)
  )


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """Reads the rows of a JSONL file, or of a CSV file with a header.

  Raises:
    UserError: if there is no such file, or if a row of it is damaged; the
      message names the line.
  """
  path = epath.Path(path)
  if not path.exists():
    raise UserError(f'There is no file {path}.')
  is_table = path.suffix == '.csv'
  rows = (
    text_files.rows_of_csv(path) if is_table else text_files.rows_of_jsonl(path)
  )
  return [row for _, row in rows]


def _stripped(name: str, split: str, i: int, example: Example) -> Example:
  """Returns an example without white space around its answers.

  Raises:
    UserError: if a part of the example is not text.
  """
  texts = {
    'inputs': example.inputs,
    'target': example.target,
    **{f'choice {j}': text for j, text in enumerate(example.choices)},
  }
  for what, text in texts.items():
    if not isinstance(text, str):
      raise UserError(
        f'Task {name!r}, split {split!r}, example {i}: its {what} is {text!r}, '
        'and must be a text.'
      )
  return dataclasses.replace(
    example,
    target=example.target.strip(),
    choices=tuple(choice.strip() for choice in example.choices),
  )


def _rows(examples: Sequence[Example], ranked: bool) -> dict[str, Any]:
  """Columns with one row for each example."""
  columns: dict[str, Any] = {
    'inputs': [example.inputs for example in examples],
    'targets': [example.target for example in examples],
  }
  if ranked:
    ragged: Any = tf.RaggedTensor
    columns['answer_choices'] = ragged.from_row_lengths(
      [choice for example in examples for choice in example.choices],
      [len(example.choices) for example in examples],
    )
  return columns


def _rows_by_choice(name: str, examples: Sequence[Example]) -> dict[str, Any]:
  """Columns with one row for each choice."""
  columns: dict[str, list[Any]] = defaultdict(list)
  for i, example in enumerate(examples):
    if example.target not in example.choices:
      raise UserError(
        f'Task {name!r}, example {i}: the target {example.target!r} is not '
        f'among the choices {list(example.choices)}.'
      )
    for j, choice in enumerate(example.choices):
      columns['idx'].append([i if example.row is None else example.row, j])
      columns['inputs'].append(example.inputs)
      columns['targets'].append(choice)
      columns['is_correct'].append(choice == example.target)
      columns['weight'].append(1.0)
  return columns
