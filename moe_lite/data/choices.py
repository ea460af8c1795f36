"""Batches of examples with all their answer choices, from few examples or all.

Tasks with answer choices have a row for each choice, which is how they are
evaluated; see `_score_eval` in `catalog`. To train on them, the rows of an
example are put together again.

Source: T-Few, arXiv 2205.05638, for the losses that need such batches.
"""

import dataclasses
import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError
from moe_lite.core.features import (
  DECODER_INPUTS,
  DECODER_TARGETS,
  ENCODER_INPUTS,
  INPUTS_EMBEDDING,
  IS_RIGHT,
)
from moe_lite.data import catalog
from moe_lite.data.dataset import Dataset, read
from moe_lite.data.registry import find, splits_of, tasks_of

# What the row of a choice must have.
_COLUMNS = ('idx', 'inputs', 'targets', 'is_correct')
# The features of an example, without an axis of examples.
Example = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ChoiceDataset(Dataset):
  """Examples with their answer choices, to train on.

  All examples are read into memory. In an epoch, each of them comes once under
  each prompt, whatever the rates of the mixture.

  Attributes:
    packing: must be False.
    most_choices: how many choices a row has room for, C.
    shots: how many examples of each data set are taken, the same ones under all
      of its prompts. `catalog` says which tasks are prompts of a data set, and
      `idx` which example a row belongs to. None takes all.
    shots_seed: decides which examples are taken. The order in which they come
      depends on the seed of the run.
  """

  packing: bool = False
  most_choices: int = 4
  shots: int | None = None
  shots_seed: int = 0

  def __post_init__(self) -> None:
    """Raises UserError for settings that choices do not go with."""
    if self.packing:
      raise UserError(
        'PACKING = True fills a row with several examples, but one with answer '
        'choices has a row of its own. Give --gin.PACKING=False.'
      )
    if self.task_ids is not None:
      raise UserError(
        f'TASK_IDS = {self.task_ids!r}, but the tokens of answer choices have '
        'no numbers. Give --gin.TASK_IDS=None.'
      )
    for name, value in {
      'NUM_CHOICES': self.most_choices,
      'SHOTS': 1 if self.shots is None else self.shots,
    }.items():
      if value < 1:
        raise UserError(f'{name} = {value} must be at least 1.')

  @property
  def num_choices(self) -> int:
    return self.most_choices

  def load(
    self, seed: int, shard: int = 0, num_shards: int = 1
  ) -> tf.data.Dataset:
    """Loads the endless stream of one part of every batch.

    Args:
      seed: the seed of the order.
      shard: the number of the part, from 0. Each part has its own examples.
      num_shards: how many equal parts a batch consists of.

    Returns:
      A stream of dicts of arrays. With b = batch_size / num_shards they are
      `encoder_input_tokens` [b, L], `decoder_input_tokens` and
      `decoder_target_tokens` [b, C, T], and `choice_is_right` [b, C], all
      int32. If there are such lengths, `inputs_embedding` is float32 [b, F].

    Raises:
      UserError: if the data are missing, or a task has no answer choices.
    """
    examples = self.examples()
    part = examples[shard::num_shards]
    if not part:
      raise UserError(
        f'DATA_SHARDS = {num_shards}, but there are only {len(examples)} '
        'examples, and every stream needs one. Give a smaller number, or more '
        'SHOTS.'
      )
    columns: Any = {name: np.stack([x[name] for x in part]) for name in part[0]}
    data = tf.data.Dataset.from_tensor_slices(columns)
    if self.shuffle:
      data = data.shuffle(len(part), seed=seed)
    options = tf.data.Options()
    options.deterministic = True
    batches = data.repeat().batch(self.batch_size // num_shards)
    return batches.prefetch(2).with_options(options)

  def examples(self) -> list[Example]:
    """Reads the examples of all tasks, each task's in the order of `idx`.

    Returns:
      The features of `load`, without their first axis.

    Raises:
      UserError: see `load`.
    """
    provider = find(self.mixture_or_task_name)
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for task in tasks_of(provider):
      if self.split in splits_of(task):
        rows = read(
          task, self.split, self.task_feature_lengths, self.use_cached
        )
        by_example = _by_example(task.name, rows)
        # What is not among the first of its task is not among those of its
        # data set, so that no more has to be kept.
        first = self._first(by_example)
        found[task.name] = {i: by_example[i] for i in first}
    chosen: dict[str, set[int]] = {}
    for task, by_example in found.items():
      chosen.setdefault(_data_set(task), set()).update(by_example)
    chosen = {name: set(self._first(x)) for name, x in chosen.items()}
    return [
      self._example(f'Task {task!r}, example {i}', rows)
      for task, by_example in found.items()
      for i, rows in sorted(by_example.items())
      if i in chosen[_data_set(task)]
    ]

  def _first(self, examples: Iterable[int]) -> list[int]:
    """Returns those of some examples that come first in a random order.

    An example has its place whatever examples there are beside it.
    """
    if self.shots is None:
      return list(examples)
    place = lambda i: (np.random.default_rng((self.shots_seed, i)).random(), i)
    return heapq.nsmallest(self.shots, examples, key=place)

  def _example(self, where: str, rows: Sequence[Mapping[str, Any]]) -> Example:
    """Puts the rows of an example together.

    Args:
      where: the task and the example, for messages.
      rows: a row for each choice.
    """
    if len(rows) > self.most_choices:
      raise UserError(
        f'{where} has {len(rows)} choices, and NUM_CHOICES = '
        f'{self.most_choices}. Give --gin.NUM_CHOICES={len(rows)} or more.'
      )
    if not any(row['is_correct'] for row in rows):
      raise UserError(f'{where} has no right choice, and cannot be trained on.')
    inputs = rows[0]['inputs']
    if any(not np.array_equal(row['inputs'], inputs) for row in rows):
      raise UserError(
        f'{where} has another input for each choice. Training encodes an input '
        'once for all of its choices.'
      )
    lengths = self.task_feature_lengths
    targets = np.zeros((self.most_choices, lengths['targets']), np.int32)
    is_right = np.zeros(self.most_choices, np.int32)
    for i, row in enumerate(rows):
      targets[i, : len(row['targets'])] = row['targets']
      is_right[i] = bool(row['is_correct'])
    example = {
      ENCODER_INPUTS: np.pad(
        np.asarray(inputs, np.int32), (0, lengths['inputs'] - len(inputs))
      ),
      DECODER_INPUTS: np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
      DECODER_TARGETS: targets,
      IS_RIGHT: is_right,
    }
    if INPUTS_EMBEDDING in lengths:
      vector = np.asarray(rows[0][INPUTS_EMBEDDING], np.float32)
      example[INPUTS_EMBEDDING] = vector
    return example


def _by_example(
  task: str, rows: Sequence[Mapping[str, Any]]
) -> dict[int, list[Mapping[str, Any]]]:
  """Returns the rows of each example, in the order of choices."""
  missing = [name for name in _COLUMNS if name not in rows[0]]
  if missing:
    twin = task + catalog.SCORE_EVAL
    is_there = twin in seqio.TaskRegistry.names()
    raise UserError(
      f'Task {task!r} has no answer choices to train on: its rows lack '
      f'{missing[0]!r}. Give --gin.MIXTURE_OR_TASK_NAME with a task or mixture '
      f'that has a row for each choice, such as {twin!r}.'
      if is_there
      else f'Task {task!r} has no answer choices to train on: its rows lack '
      f'{missing[0]!r}, and there is no task {twin!r}. Train on it with '
      'runs/finetune.gin.'
    )
  found: dict[int, list[Mapping[str, Any]]] = {}
  last = None
  for row in sorted(rows, key=lambda row: tuple(row['idx'])):
    example, choice = (int(i) for i in row['idx'])
    if (example, choice) == last:
      raise UserError(
        f'Task {task!r} has two rows with idx {last}: idx must name every '
        '(example, choice) once.'
      )
    last = example, choice
    found.setdefault(example, []).append(row)
  return found


def _data_set(task: str) -> str:
  """The data set that a task is a prompt of; the task if nobody says so."""
  info = catalog.lookup(task)
  return info.dataset if info else task
