"""Metrics of generated text: values worked out by hand, and what is no text."""

import math
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import sacrebleu
import seqio
import tensorflow as tf
from scipy import stats
from sklearn.metrics import f1_score

from moe_lite.core.errors import UserError
from tasks import metrics
from tasks.mini import suite
from tasks.p3 import table

METRICS = metrics.METRICS


def measure(name, targets, predictions):
  """A metric of texts; those of one row's inputs are 'question 0', ..."""
  postprocess = metrics.postprocess_for([name])
  rows = [{'inputs_pretokenized': f'question {i}'} for i in range(len(targets))]
  process = lambda texts, is_target: [
    postprocess(text, example=row, is_target=is_target)
    for text, row in zip(texts, rows, strict=True)
  ]
  return METRICS[name](process(targets, True), process(predictions, False))


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    (['yes'], ['yes'], 100),
    ([' yes\n'], ['\tyes '], 100),
    (['yes'], ['Yes'], 0),
    (['yes', 'no', 'maybe'], ['yes', 'yes', ''], 100 / 3),
    (['★★', 'é'], ['★★', 'e'], 50),
    (['no', 'no'], ['yes', ''], 0),
  ],
)
def test_accuracy(targets, predictions, expected):
  value = measure('accuracy', targets, predictions)
  assert value == pytest.approx({'accuracy': expected})


CAT = 'the cat sat on the mat'


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    ([CAT], [CAT], 100),
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours.
    ([CAT], ['the cat sat on a mat'], 100 * (1 / 12) ** 0.25),
    # All that is said is right; 4 words in place of 6.
    ([CAT], ['the cat sat on'], 100 * math.exp(1 - 6 / 4)),
    # Counts are pooled over rows: 11 of 12, 8 of 10, 6 of 8, 4 of 6.
    (
      [CAT, CAT],
      [CAT, 'the cat sat on a mat'],
      100 * (11 / 12 * 8 / 10 * 6 / 8 * 4 / 6) ** 0.25,
    ),
    # 3 of 4, 2 of 3, 1 of 2, and 0 of 1 is taken for a half.
    (['a b c d'], ['a b c e'], 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25),
    # 'the' counts twice: 2 of 6, then 0 of 5, 4, 3, halved time and again.
    (
      [CAT],
      ['the the the the the the'],
      100 * (2 / 6 * 1 / 10 * 1 / 16 * 1 / 24) ** 0.25,
    ),
    # Symbols are words of their own.
    (['it cost 5 €'], ['it cost 5€'], 100),
    (['größer, kleiner und schön'], ['größer , kleiner und schön'], 100),
    ([CAT], ['dogs bark'], 0),
    ([CAT], [''], 0),
    # No row has four words.
    (['Paris'], ['Paris'], 0),
  ],
)
def test_bleu(targets, predictions, expected):
  value = measure('bleu', targets, predictions)
  assert value == pytest.approx({'bleu': expected})


def test_bleu_is_sacrebleu_s():
  targets = [CAT, 'Der Preis, 5 €, ist zu hoch!', 'it rains . ', 'yes']
  predictions = ['a cat sat on it', 'Der Preis ist 5€ zu hoch!', 'it rains', '']
  expected = sacrebleu.corpus_bleu(predictions, [targets], tokenize='intl')
  assert 0 < expected.score < 100
  assert METRICS['bleu'](targets, predictions) == {'bleu': expected.score}


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    (['The Cat.'], ['the cat'], (100, 100, 100)),
    # Shared: the, the, cat of 4 and 6 words; one pair of 3 and 5; and in order
    # 'the cat the'.
    ([CAT], ['the cat the cat'], (60, 25, 60)),
    # Sentences, not their order, count for the last.
    (['a b . c d .'], ['c d . a b .'], (100, 200 / 3, 100)),
    (['a b .\nc d .'], ['c d . a b .'], (100, 200 / 3, 100)),
    ([CAT, CAT], [CAT, ''], (50, 50, 50)),
    ([CAT], ['dogs bark'], (0, 0, 0)),
    # A single word has no pairs.
    (['yes'], ['yes'], (100, 0, 100)),
    # Only a to z and digits are read.
    (['★★'], ['★★'], (0, 0, 0)),
    (['x é y'], ['x ü y'], (100, 100, 100)),
    ([''], [''], (0, 0, 0)),
  ],
)
def test_rouge(targets, predictions, expected):
  keys = ('rouge1', 'rouge2', 'rougeLsum')
  value = measure('rouge', targets, predictions)
  assert value == pytest.approx(dict(zip(keys, expected, strict=True)))


ANSWERS = [
  (['The  Eiffel Tower'], ['eiffel tower.'], (100, 100)),
  (['U.S.-based'], ['usbased'], (100, 100)),
  # 2 words of 4 and of 2.
  (['Barack Obama'], ['president Barack Hussein Obama'], (200 / 3, 0)),
  # 'rose' counts twice, of 3 words and of 3.
  (['a rose is a rose'], ['rose rose rose'], (200 / 3, 0)),
  (['Zoë', '北京'], ['zoë', '北京'], (100, 100)),
  # Only ASCII's punctuation is dropped.
  (['Zoë'], ['«Zoë»'], (0, 0)),
  # Nothing is left of either, then of one.
  (['The'], ['an!'], (100, 100)),
  (['Paris'], [''], (0, 0)),
  (['the'], ['Paris'], (0, 0)),
  (['Paris', 'London'], ['paris', 'Rome'], (50, 50)),
]


@pytest.mark.parametrize('name', ['squad', 'record'])
@pytest.mark.parametrize('targets, predictions, expected', ANSWERS)
def test_words_and_exact_matches(name, targets, predictions, expected):
  f1, em = expected
  value = measure(name, targets, predictions)
  assert value == pytest.approx({'f1': f1, 'em': em})


def record(rows):
  """The metric of (inputs, answer, prediction)."""
  process = metrics.postprocess_for(['record'])
  targets = [
    process(answer, example={'inputs_pretokenized': inputs}, is_target=True)
    for inputs, answer, _ in rows
  ]
  return METRICS['record'](targets, [process(row[2]) for row in rows])


def test_record_takes_the_best_of_a_question_s_answers_and_counts_it_once():
  rows = [
    (b'who?', ' Barack Obama', 'obama'),  # 2/3 of the one, all of the other.
    (b'who?', 'Obama', 'obama'),
    (b'where?', 'Paris', 'Rome'),
  ]
  assert record(rows) == pytest.approx({'f1': 50, 'em': 50})
  assert record(rows[::-1]) == pytest.approx({'f1': 50, 'em': 50})
  # One answer only: the question is half the rows.
  assert record(rows[::2]) == pytest.approx({'f1': 100 / 3, 'em': 0})


def test_record_averages_what_was_said_to_one_question():
  rows = [('who?', 'Obama', 'obama'), ('who?', 'Obama', 'nobody')]
  assert record(rows) == record(rows[::-1]) == {'f1': 50, 'em': 50}


def test_record_needs_the_text_of_the_inputs():
  process = metrics.postprocess_for(['record'])
  with pytest.raises(UserError, match='inputs_pretokenized'):
    process('Paris', example={'inputs': [1]}, is_target=True)
  with pytest.raises(UserError, match='inputs_pretokenized'):
    process('Paris', is_target=True)
  with pytest.raises(UserError, match='record'):
    metrics.postprocess_for(['record', 'accuracy'])


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    # A true and a false positive.
    (['yes', 'no'], ['yes', 'yes'], 200 / 3),
    # What is neither misses a yes and, for a no, adds one.
    (['yes', 'yes', 'no', 'no'], ['yes', '?', 'no', ''], 50),
    (['no', 'yes'], ['no', 'no'], 0),
    (['no', 'yes'], ['yes', 'no'], 0),
    # All targets are one answer: it is the one looked for.
    (['yes'], ['yes'], 100),
    (['no', 'no'], ['no', 'yes'], 200 / 3),
    (['néant', 'être'], ['néant', 'être'], 100),
    # More than two answers are no labels.
    (['a', 'b', 'c'], ['a', 'b', 'c'], 0),
  ],
)
def test_f1_of_the_second_label(targets, predictions, expected):
  value = measure('f1_score_with_invalid', targets, predictions)
  assert value == pytest.approx({'f1': expected})


@pytest.mark.parametrize(
  'prompt',
  [
    prompt
    for prompt in table.prompts().values()
    if 'f1_score_with_invalid' in prompt.metrics and prompt.choices
  ],
  ids=lambda prompt: prompt.task,
)
def test_the_second_label_is_p3_s(prompt):
  first, second = prompt.choices
  measured = measure('f1_score_with_invalid', [first, second], [second] * 2)
  assert measured == pytest.approx({'f1': 200 / 3})


def test_f1_is_scikit_learn_s():
  generator = np.random.default_rng(0)
  truth, chosen = generator.integers(0, 2, (2, 50))
  labels = np.array(['no', 'yes'])
  measured = METRICS['f1_score_with_invalid'](labels[truth], labels[chosen])
  assert measured == pytest.approx({'f1': 100 * f1_score(truth, chosen)})

  truth, chosen = generator.integers(0, 3, (2, 50))
  chosen[::7] = 3
  labels = np.array(['Yes', 'No', 'Maybe', 'Perhaps'])
  measured = METRICS['mean_multiclass_f1'](labels[truth], labels[chosen])
  expected = f1_score(truth, chosen, labels=range(3), average='macro')
  assert measured == pytest.approx({'mean_multiclass_f1': 100 * expected})


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    (['Yes', 'No', 'Maybe'], ['Yes', 'No', 'Maybe'], 100),
    # Yes: one right, one missed, one too many; No: never; Maybe: always.
    (['Yes', 'No', 'Maybe', 'Yes'], ['Yes', 'Yes', 'Maybe', '★'], 50),
    (['Yes', 'No', 'Maybe'], ['No', 'Maybe', ''], 0),
    # A class that is no target scores 0, one of three.
    (['Yes'], ['Yes'], 100 / 3),
    # Of more classes, each counts alike.
    (['a', 'b', 'c', 'd'], ['a', 'b', 'c', ''], 75),
  ],
)
def test_mean_f1_over_classes(targets, predictions, expected):
  value = measure('mean_multiclass_f1', targets, predictions)
  assert value == pytest.approx({'mean_multiclass_f1': expected})


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    # 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1)).
    ('1 2 3 4', '1 3 2 4', 80),
    ('1 2 3', '10 200 3000.5', 100),
    ('1 2 3', '-1 -2 -3', -100),
    # What is no number ranks below all that are.
    ('1 2 3', 'great -7 8', 100),
    ('1 2 3', 'nan 7 2', 50),
    ('1 2 3', 'inf .5 +9.', 100),
    ('1 2 3', '-. ٢ ٣', 100),
    # Nothing can be said of a constant, of one row, of targets in words.
    ('1 2 3', '4 4 4', 0),
    ('2 2 2', '1 2 3', 0),
    ('1', '1', 0),
    ('No Maybe Yes', 'No Maybe Yes', 0),
    ('★ ★★', '★ ★★', 0),
    ('1 2 x', '1 2 3', 0),
  ],
)
def test_spearman(targets, predictions, expected):
  value = measure('spearman_corrcoef', targets.split(), predictions.split())
  assert value == pytest.approx({'spearman_corrcoef': expected})


def test_spearman_is_scipy_s():
  pairs = np.random.default_rng(0).integers(0, 5, (2, 40))
  texts = [[str(number) for number in numbers] for numbers in pairs]
  measured = METRICS['spearman_corrcoef'](*texts)['spearman_corrcoef']
  assert measured == pytest.approx(100 * np.array(stats.spearmanr(*pairs))[0])


@pytest.mark.parametrize('name', METRICS)
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


@pytest.mark.parametrize('name', METRICS)
def test_rows_without_a_prediction_are_an_error(name):
  targets = ['1', '2', '3']
  if name == 'record':
    targets = [{'inputs': text, 'answer': text} for text in targets]
  with pytest.raises(ValueError):
    METRICS[name](targets, ['1', '2'])


@pytest.mark.parametrize('name', METRICS)
def test_the_order_of_rows_does_not_matter(name):
  targets = ['1', '2', '3', '2', 'it is the 1 . yes']
  predictions = ['1', '3', '3', 'x', 'it is not the 1 . yes']
  backwards = measure(name, targets[::-1], predictions[::-1])
  assert measure(name, targets, predictions) == pytest.approx(backwards)


def test_every_name_in_the_table_has_a_metric():
  prompts = table.prompts().values()
  assert {name for prompt in prompts for name in prompt.metrics} == set(METRICS)
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


@pytest.mark.parametrize('name', METRICS)
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
    metric_fns=[METRICS[name]],
  )
  try:
    assert task.predict_metric_fns == [METRICS[name]]
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
