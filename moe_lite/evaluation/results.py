"""What an evaluation found.

The fields of these classes are the keys of `results.json`, in their order; see
`results_file`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moe_lite.data.catalog import PublishedTable
from moe_lite.inference.facts import Facts

JSON = 'results.json'
MARKDOWN = 'results.md'
PLOT = 'prompts.png'
# A line for each example; see `measuring`.
PREDICTIONS = 'predictions.jsonl'
# The metric of rank classification, in percent.
ACCURACY = 'accuracy'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How a checkpoint was evaluated; see `loop.evaluate`.

  What the version that evaluated did not write down is None, and is left out
  where the settings are written again.

  Attributes:
    mixture_or_task_name: the SeqIO task or mixture.
    split: the split of every task.
    task_feature_lengths: the most ids of 'inputs' and of 'targets'.
    use_cached: whether the tasks were read from SeqIO's cache.
    batch_size: the number of examples in a batch, which the first version alone
      wrote down.
    length_normalized: whether a choice was ranked by the log-probability of a
      token, and not by that of the whole choice.
    decoder: the name of the decoder and its options.
    num_decodes: the beams of the decoder.
    seed: the seed of the decoder's draws.
    base_dtype: the type that the base was held in.
    vocabulary: the vocabulary of the targets, in words.
    activation_dtype: the type that the network computed in.
    num_examples: how many examples of each task were measured; None for all.
  """

  mixture_or_task_name: str
  split: str
  task_feature_lengths: Mapping[str, int]
  use_cached: bool | None = None
  batch_size: int | None = None
  length_normalized: bool
  decoder: Mapping[str, Any] | None = None
  num_decodes: int | None = None
  seed: int | None = None
  base_dtype: str | None = None
  vocabulary: str | None = None
  activation_dtype: str | None = None
  num_examples: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskResult:
  """What was measured on one task, which is one prompt of a data set.

  Attributes:
    task: the name of the SeqIO task.
    dataset: the data set that the prompt belongs to.
    column: the column of the results that the data set counts towards; None
      where that is the data set itself.
    cluster: the kind of task; '' where no suite names one.
    template: the name of the prompt; '' where no suite names one.
    held_out: whether the data set was kept apart for evaluation.
    chance: the accuracy of guessing, in percent; None where nothing is chosen.
    kind: how it was measured, 'rank classification' or 'generation'.
    metric: the name of the metric that counts.
    value: the value of that metric.
    metrics: all metrics by name, that one among them.
    examples: the number of examples.
    rows: the number of answer choices in all. This and the next six are None
      where text was generated. What an earlier version did not count is None.
    none_correct: the number of examples none of whose choices is correct.
    several_correct: the number of examples with several correct choices.
    trimmed_targets: the number of choices that were longer than targets may be.
    ties: the number of examples whose best choices are correct in part.
    equal_choices: the number of examples with choices that are equal, or equal
      once they are trimmed.
    shared_accuracy: the accuracy if best choices shared the credit, in percent.
    trimmed_inputs: the number of examples whose inputs were longer than inputs
      may be.
    seconds: how long the task took.
  """

  task: str
  dataset: str
  column: str | None
  cluster: str
  template: str
  held_out: bool
  chance: float | None
  kind: str
  metric: str
  value: float
  metrics: Mapping[str, float]
  examples: int
  rows: int | None = None
  none_correct: int | None = None
  several_correct: int | None = None
  trimmed_targets: int | None = None
  ties: int | None = None
  equal_choices: int | None = None
  shared_accuracy: float | None = None
  trimmed_inputs: int | None = None
  seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class DatasetSummary:
  """One metric of a data set, over its prompts.

  Attributes:
    dataset: the name of the data set.
    metric: the name of the metric.
    column: the column of the results that the data set counts towards.
    cluster: the kind of task.
    held_out: whether the data set was kept apart for evaluation.
    prompts: the number of prompts.
    median: the median over prompts, which is the number of the data set.
    mean: the mean over prompts.
    q1: the first quartile.
    q3: the third quartile.
    min: the least value.
    max: the greatest value.
    chance: the mean accuracy of guessing, in percent; None where it is unknown
      for a prompt.
  """

  dataset: str
  metric: str
  column: str
  cluster: str
  held_out: bool
  prompts: int
  median: float
  mean: float
  q1: float
  q3: float
  min: float
  max: float
  chance: float | None


@dataclasses.dataclass(frozen=True)
class ColumnSummary:
  """The mean over the data sets of one column of the results.

  Attributes:
    column: the name of the column.
    datasets: the names of its data sets.
    median: the mean of their medians.
    mean: the mean of their means.
    chance: the mean of their chances; None where one is unknown.
  """

  column: str
  datasets: Sequence[str]
  median: float
  mean: float
  chance: float | None


@dataclasses.dataclass(frozen=True)
class Averages:
  """The mean over the columns of the results.

  Attributes:
    median: the mean of the columns' medians, which is the final number.
    mean: the mean of their means.
    chance: the mean of their chances; None where one is unknown.
  """

  median: float
  mean: float
  chance: float | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """All that `results.json` holds.

  Attributes:
    complete: whether every task is finished.
    checkpoint: what was evaluated.
    settings: how it was evaluated.
    datasets: one entry for each metric of a data set, in order of appearance.
    columns: the columns of the average.
    average: the average over columns; None where no task was ranked.
    published: what others reported for the mixture; None if nothing is known.
    tasks: the finished tasks, in order of their names.
    environment: command, software and machine; see `environment.environment`.
  """

  complete: bool
  checkpoint: Facts
  settings: Settings
  datasets: Sequence[DatasetSummary]
  columns: Sequence[ColumnSummary]
  average: Averages | None
  published: PublishedTable | None
  tasks: Sequence[TaskResult]
  environment: Mapping[str, Any]

  @property
  def seconds(self) -> float:
    """How long all tasks took."""
    return sum(task.seconds for task in self.tasks)

  @property
  def device_kind(self) -> str:
    """The kind of device that the tasks ran on, as JAX names it."""
    return self.environment['device_kind']
