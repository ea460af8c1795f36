"""What holds for all metrics of generated text."""

import subprocess
import sys
import warnings
from typing import Any

import pytest
import seqio
import tensorflow as tf

from tasks import metrics
from tasks.mini import suite
from tasks.p3 import table
from tests.tasks.measuring import measure


@pytest.mark.parametrize('name', metrics.METRICS)
@pytest.mark.parametrize(
  'targets, predictions',
  [
    ([], []),
    ([''], ['']),
    ([''], ['a']),
    (['a'], ['']),
    (['★ «é»\n'], ['\x00 ⁇ ']),
    (['a', 'a'], ['b', 'b']),
    (['1', '2'], ['1', '1']),
    (['a b c d e .'] * 100, ['a b c d e .'] * 100),
  ],
)
def test_always_a_number(name, targets, predictions):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    values = measure(name, targets, predictions)
  assert values == measure(name, targets, predictions)
  for value in values.values():
    assert type(value) is float
    assert 0 <= value <= 100 + 1e-9


@pytest.mark.parametrize('name', metrics.METRICS)
def test_rows_without_a_prediction_are_an_error(name):
  targets = ['1', '2', '3']
  if name == 'record':
    targets = [{'inputs': text, 'answer': text} for text in targets]
  with pytest.raises(ValueError):
    metrics.METRICS[name](targets, ['1', '2'])


@pytest.mark.parametrize('name', metrics.METRICS)
def test_the_order_of_rows_does_not_matter(name):
  targets = ['1', '2', '3', '2', 'it is the 1 . yes']
  predictions = ['1', '3', '3', 'x', 'it is not the 1 . yes']
  backwards = measure(name, targets[::-1], predictions[::-1])
  assert measure(name, targets, predictions) == pytest.approx(backwards)


def test_every_name_in_the_table_has_a_metric():
  prompts = table.prompts().values()
  assert {name for prompt in prompts for name in prompt.metrics} == set(
    metrics.METRICS
  )
  for prompt in prompts:
    metrics.postprocess_for(prompt.metrics)


def test_text_is_stripped():
  for is_target in (False, True):
    text = metrics.postprocess('\n yes ', example={}, is_target=is_target)
    assert text == 'yes'
  assert metrics.postprocess_for(['bleu', 'rouge']) is metrics.postprocess
  assert metrics.postprocess_for([]) is metrics.postprocess


TEXTS = ('dog', 'trout')


def rows_of_text(split, shuffle_files=False, seed=None):
  answers = [f' {text}' for text in TEXTS]
  columns: Any = {'inputs': list(TEXTS), 'targets': answers}
  return tf.data.Dataset.from_tensor_slices(columns)


@pytest.mark.parametrize('name', metrics.METRICS)
def test_seqio_measures_predictions(name):
  source: Any = seqio.FunctionDataSource(rows_of_text, splits=('validation',))
  task = seqio.TaskRegistry.add(
    'metrics_of_text',
    source=source,
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos,
    ],
    output_features=suite.FEATURES,
    postprocess_fn=metrics.postprocess_for([name]),
    metric_fns=[metrics.METRICS[name]],
  )
  try:
    assert task.predict_metric_fns == [metrics.METRICS[name]]
    assert not task.score_metric_fns
    evaluator = seqio.Evaluator(
      task.name,
      seqio.EncDecFeatureConverter(pack=False),
      eval_split='validation',
      logger_cls=[],
    )
    predict: Any = lambda dataset: [
      (i, row['decoder_target_tokens'])
      for i, row in dataset.as_numpy_iterator()
    ]
    score: Any = lambda dataset: []
    measured, _ = evaluator.evaluate(
      compute_metrics=True, step=None, predict_fn=predict, score_fn=score
    )
  finally:
    seqio.TaskRegistry.remove(task.name)
  values = measured.result()[task.name]
  values = {
    key: getattr(value, 'value', value) for key, value in values.items()
  }
  assert values == measure(name, TEXTS, TEXTS)


def test_importing_it_loads_none_of_the_libraries():
  code = 'import sys, tasks.metrics; print(*sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  heavy = {'nltk', 'rouge_score', 'sacrebleu', 'scipy', 'sklearn', 'tensorflow'}
  assert not heavy & set(done.stdout.split())
