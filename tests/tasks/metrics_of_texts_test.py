"""Metrics that compare texts: values worked out by hand."""

import math

import pytest
import sacrebleu

from moe_lite.core.errors import UserError
from tasks import metrics
from tests.tasks.measuring import measure


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
  assert metrics.METRICS['bleu'](targets, predictions) == {
    'bleu': expected.score
  }


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
  return metrics.METRICS['record'](targets, [process(row[2]) for row in rows])


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
