"""Metrics of labels and of numbers: values worked out by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from tasks import metrics
from tasks.p3 import table
from tests.tasks.measuring import measure


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
    # More than two answers are not labels.
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
  measured = metrics.METRICS['f1_score_with_invalid'](
    labels[truth], labels[chosen]
  )
  assert measured == pytest.approx({'f1': 100 * f1_score(truth, chosen)})

  truth, chosen = generator.integers(0, 3, (2, 50))
  chosen[::7] = 3
  labels = np.array(['Yes', 'No', 'Maybe', 'Perhaps'])
  measured = metrics.METRICS['mean_multiclass_f1'](
    labels[truth], labels[chosen]
  )
  expected = f1_score(truth, chosen, labels=range(3), average='macro')
  assert measured == pytest.approx({'mean_multiclass_f1': 100 * expected})


@pytest.mark.parametrize(
  'targets, predictions, expected',
  [
    (['Yes', 'No', 'Maybe'], ['Yes', 'No', 'Maybe'], 100),
    # Yes: one right, one missed, one too many; No: never; Maybe: always.
    (['Yes', 'No', 'Maybe', 'Yes'], ['Yes', 'Yes', 'Maybe', '★'], 50),
    (['Yes', 'No', 'Maybe'], ['No', 'Maybe', ''], 0),
    # A class that is not a target scores 0. It is one of three.
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
    # What is not a number ranks below all numbers.
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
  measured = metrics.METRICS['spearman_corrcoef'](*texts)['spearman_corrcoef']
  assert measured == pytest.approx(100 * np.array(stats.spearmanr(*pairs))[0])
