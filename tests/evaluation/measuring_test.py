"""Tasks measured without a model: functions of a few lines stand in for it."""

import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.data import catalog
from moe_lite.evaluation.measuring import Ranker, has_choices, measure_text
from tests.inference import choice_rows
from tests.inference.choice_rows import SHAPES, row


class Task:
  """What is read of a SeqIO task; text is made of ids, joined by spaces."""

  def __init__(self, name, metric_fns=()):
    self.name, self.predict_metric_fns = name, list(metric_fns)
    self.output_features = {'targets': self}
    self.vocabulary = self

  def decode(self, ids):
    return ' '.join(map(str, ids))

  def postprocess_fn(self, text, example, is_target):
    return (text, is_target, len(example['inputs']))


def ranker(score, length_normalized=False):
  encode, score_choices, _ = choice_rows.by_hand(score)
  return Ranker(encode, score_choices, SHAPES, length_normalized)


def test_the_choice_with_the_best_score_is_the_answer():
  rows = [
    row(0, 0, [5], [7, 1], is_correct=True),
    row(0, 1, [5], [9, 1]),
    row(1, 0, [6], [7, 1]),
    row(1, 1, [6], [9, 1], is_correct=True),
    row(2, 0, [7], [8, 8, 1]),
    row(2, 1, [7], [9, 9], is_correct=True),  # Trimmed: it lacks EOS.
  ]
  # Always the choice that begins with 9.
  found, lines = ranker(lambda inputs, targets: sum(targets[:1])).measure(
    Task('t'), rows
  )
  assert found.kind == 'rank classification' and found.metric == 'accuracy'
  assert found.value == found.metrics['accuracy'] == pytest.approx(200 / 3)
  assert found.chance == 50 and (found.examples, found.rows) == (3, 6)
  assert found.trimmed_targets == 1
  assert (found.none_correct, found.several_correct) == (0, 0)
  assert [line['choice'] for line in lines] == [1, 1, 1]
  assert [line['idx'] for line in lines] == [0, 1, 2]
  assert sum(line['correct'] for line in lines) == 2
  assert all(len(line['scores']) == 2 for line in lines)


def test_scores_may_be_those_of_a_token():
  rows = [
    row(0, 0, [5], [7, 7, 7, 1], is_correct=True),
    row(0, 1, [5], [9, 1]),
  ]
  score = lambda inputs, targets: -1.0 - 0.5 * len(targets)
  values = [
    ranker(score, normalized).measure(Task('t'), rows)[0].value
    for normalized in (False, True)
  ]
  assert values == [0, 100]


def test_rows_of_choices_are_told_by_their_columns():
  assert has_choices({**row(0, 0, [1], [1]), 'more': 1})
  assert not has_choices({'inputs': [1], 'targets': [1]})


def echo(inputs):
  """Generates the first two ids of each input, in batches of two."""
  outputs = [np.array(x.ids[:2]) for x in inputs]
  for start in range(0, len(outputs), 2):
    yield outputs[start : start + 2]


ROWS = [
  {'inputs': [3, 4, 5], 'targets': [3, 4]},
  {'inputs': [6], 'targets': [7]},
  {'inputs': [8, 9], 'targets': [8], 'targets_pretokenized': b'8 9'},
]


def test_text_is_measured_by_the_metrics_of_the_task():
  seen = []

  def metric_fn(targets, predictions):
    seen.append((targets, predictions))
    pairs = zip(targets, predictions, strict=True)
    right = [target[0] == prediction[0] for target, prediction in pairs]
    return {'words': ['no', 'number'], 'exact': 100 * np.mean(right)}

  found, lines = measure_text(Task('t', [metric_fn]), ROWS, echo)
  ((targets, predictions),) = seen
  # In the order of the rows; a row's own text goes before its ids.
  assert targets == [('3 4', True, 3), ('7', True, 1), ('8 9', True, 2)]
  assert predictions == [('3 4', False, 3), ('6', False, 1), ('8 9', False, 2)]
  assert lines[1] == {
    **{'task': 't', 'idx': 1},
    **{'target': '7', 'prediction': '6'},
  }
  assert (found.kind, found.metric) == ('generation', 'exact')
  assert found.metrics == {'exact': pytest.approx(200 / 3)}
  assert found.examples == 3 and found.rows is None and found.chance is None


@pytest.mark.parametrize(
  'metrics, says',
  [
    ({'words': 'none'}, 'gave no number'),
    ({'bleu': 1.0, 'loss': np.nan}, "metric 'loss' is nan, over 3 examples"),
  ],
)
def test_metrics_must_be_finite_numbers(metrics, says):
  task = Task('t', [lambda targets, predictions: metrics])
  with pytest.raises(UserError, match=says):
    measure_text(task, ROWS, echo)


def test_the_catalog_says_what_a_task_belongs_to():
  metric_fns = [lambda targets, predictions: {'bleu': 1.0}]
  foreign, _ = measure_text(Task('measured_free', metric_fns), ROWS, echo)
  assert (foreign.dataset, foreign.cluster) == ('measured_free', '')
  assert not foreign.held_out and foreign.column is None
  catalog.add(
    catalog.TaskInfo(
      name='measured_known',
      dataset='measured',
      cluster='nli',
      template='prompt',
      chance=25.0,
      held_out=True,
      column='all',
    )
  )
  known, _ = measure_text(Task('measured_known', metric_fns), ROWS, echo)
  assert (known.dataset, known.cluster, known.template) == (
    'measured',
    'nli',
    'prompt',
  )
  assert known.held_out and known.column == 'all' and known.chance == 25
