"""One task measured: its answer choices ranked, or text generated for it."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from moe_lite.data.dataset import TRIMMED
from moe_lite.evaluation.results import ACCURACY, TaskResult
from moe_lite.inference import answers, ranking
from moe_lite.inference.padding import Input, Shapes
from moe_lite.inference.scoring import Encode, ScoreChoices
from moe_lite.models import decoding

# A row of a task: ids `inputs` and `targets`, and whatever else the task has.
Row = Mapping[str, Any]
# What was found of an example, for a line of `predictions.jsonl`.
Line = dict[str, Any]
# The ids of outputs for inputs, batch after batch; see `Generator`.
Generate = Callable[[Iterable[Input]], Iterator[Sequence[np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Ranker:
  """Measures a task with one row for each answer choice.

  Attributes:
    encode: see `scoring.score`.
    score_choices: see `scoring.score`.
    shapes: the shapes that batches are padded to.
    length_normalized: whether choices are ranked by the log-probability of a
      token, and not by that of the whole choice.
  """

  encode: Encode
  score_choices: ScoreChoices
  shapes: Shapes
  length_normalized: bool

  def measure(
    self, task: seqio.Task, rows: Sequence[Row]
  ) -> tuple[TaskResult, list[Line]]:
    """Ranks the choices of every example.

    Returns:
      The result, and for each example a line with the log-probabilities of its
      choices, the `idx[1]` of the chosen one, whether that is correct, and the
      weight of the example in the accuracy.

    Raises:
      UserError: if the rows are not choices, or a score is not finite.
    """
    collected = answers.collect(task.name, rows)
    shapes = self.shapes.for_examples(len(collected.choices))
    scores = ranking.score(collected, self.encode, self.score_choices, shapes)
    ranked = ranking.rank(collected, scores, self.length_normalized)
    metrics = {ACCURACY: ranked.accuracy}
    if ranked.f1 is not None:
      metrics['f1'] = ranked.f1
    result = TaskResult(
      **_place(task.name, ranked.chance),
      kind='rank classification',
      metric=ACCURACY,
      value=ranked.accuracy,
      metrics=metrics,
      examples=ranked.examples,
      rows=ranked.rows,
      none_correct=ranked.none_correct,
      several_correct=ranked.several_correct,
      ties=ranked.ties,
      equal_choices=ranked.equal_choices,
      shared_accuracy=ranked.shared_accuracy,
      trimmed_targets=sum(
        decoding.EOS_ID not in targets[-1:] for targets in collected.targets
      ),
      trimmed_inputs=len(
        {int(row['idx'][0]) for row in rows if _is_trimmed(row, 'inputs')}
      ),
    )
    return result, _ranked_lines(task.name, collected.answers, scores, ranked)


def has_choices(row: Row) -> bool:
  """Whether a task has one row for each answer choice, by one of its rows."""
  return set(answers.COLUMNS) <= row.keys()


def measure_text(
  task: seqio.Task, rows: Sequence[Row], generate: Generate
) -> tuple[TaskResult, list[Line]]:
  """Generates text for every row, and measures it by the task's `metric_fns`.

  Returns:
    The result, and for each row a line with the text that it should have given
    and the text that the model gave.

  Raises:
    UserError: if the task has no metrics, or if they give no finite number.
  """
  if not task.predict_metric_fns:
    twin = task.name + catalog.SCORE_EVAL
    hint = (
      f' Did you mean {twin!r}?' if twin in seqio.TaskRegistry.names() else ''
    )
    raise UserError(
      f'Task {task.name!r} has neither answer choices to rank nor metric_fns '
      f'for generated text.{hint}'
    )
  lines = _generated_lines(task, rows, generate)
  read = lambda key, is_target: [
    task.postprocess_fn(line[key], example=row, is_target=is_target)
    for row, line in zip(rows, lines, strict=True)
  ]
  metrics = _metrics(task, read('target', True), read('prediction', False))
  metric = next(iter(metrics))
  result = TaskResult(
    **_place(task.name, None),
    kind='generation',
    # The averages are made of the accuracy of ranking, and this is another.
    metric=f'generated {metric}' if metric == ACCURACY else metric,
    value=metrics[metric],
    metrics=metrics,
    examples=len(rows),
    trimmed_inputs=sum(_is_trimmed(row, 'inputs') for row in rows),
  )
  return result, lines


def _is_trimmed(row: Row, feature: str) -> bool:
  return feature in row.get(TRIMMED, ())


def _ranked_lines(
  task: str, found: answers.Answers, scores: np.ndarray, ranked: ranking.Ranking
) -> list[Line]:
  starts = np.flatnonzero(np.diff(found.example, prepend=np.nan))
  lines = []
  for chosen, places in zip(
    ranked.predictions, np.split(np.arange(len(found)), starts[1:]), strict=True
  ):
    best = places[found.choice[places] == chosen][0]
    lines.append(
      {
        'task': task,
        'idx': int(found.example[best]),
        'choice': chosen,
        'correct': bool(found.is_correct[best]),
        'weight': float(found.weight[best]),
        'scores': [float(f'{x:.9g}') for x in scores[places]],
      }
    )
  return lines


def _generated_lines(
  task: seqio.Task, rows: Sequence[Row], generate: Generate
) -> list[Line]:
  """A line for each row: what the model should have said, and what it said."""
  vocabulary = task.output_features['targets'].vocabulary
  # Inputs of like length share a batch, so that little is padded.
  order = sorted(range(len(rows)), key=lambda i: len(rows[i]['inputs']))
  outputs = itertools.chain.from_iterable(
    generate(Input.of(rows[i]) for i in order)
  )
  lines: dict[int, Line] = {}
  for i, ids in zip(order, outputs, strict=False):
    target = rows[i].get('targets_pretokenized')
    if target is None:
      target = vocabulary.decode([int(x) for x in rows[i]['targets']])
    lines[i] = {
      'task': task.name,
      'idx': i,
      'target': tf.compat.as_text(target),
      'prediction': vocabulary.decode([int(x) for x in ids]),
    }
  return [lines[i] for i in range(len(rows))]


def _metrics(
  task: seqio.Task, targets: Sequence[Any], predictions: Sequence[Any]
) -> dict[str, float]:
  """The numbers among the task's metrics, by name."""
  metrics = {}
  for metric_fn in task.predict_metric_fns:
    for key, value in metric_fn(targets, predictions).items():
      # SeqIO may wrap a metric. A table holds numbers and nothing else.
      value = getattr(value, 'value', value)
      if np.isscalar(value) and not isinstance(value, str | bytes):
        metrics[key] = np.asarray(value, float).item()
  if not metrics:
    raise UserError(f'The metric_fns of task {task.name!r} gave no number.')
  if bad := [key for key, value in metrics.items() if not np.isfinite(value)]:
    raise UserError(
      f'Task {task.name!r}: its metric {bad[0]!r} is {metrics[bad[0]]}, over '
      f'{len(targets)} examples. Mend the metric, or leave the task out.'
    )
  return metrics


def _place(name: str, chance: float | None) -> dict[str, Any]:
  """A task's place in its suite, as the first fields of a `TaskResult`.

  Args:
    name: the name of the task. A task of no suite is its own data set.
    chance: the accuracy of guessing, if the rows of the task tell it.
  """
  info = catalog.lookup(name)
  if info is None:
    info = catalog.TaskInfo(
      name=name,
      dataset=name.removesuffix(catalog.SCORE_EVAL),
      cluster='',
      template='',
      chance=chance,
      held_out=False,
    )
  return {
    'task': name,
    'dataset': info.dataset,
    'column': info.column,
    'cluster': info.cluster,
    'template': info.template,
    'held_out': info.held_out,
    'chance': info.chance if chance is None else chance,
  }
