"""Rank classification: grouped scoring, and the metrics of its scores."""

import random

import jax
import numpy as np
import pytest

from moe_lite.core.errors import UserError
from moe_lite.inference import scoring
from moe_lite.inference.padding import Shapes
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

SHAPES = Shapes(batch_size=4, input_length=24, target_length=9)


def row(example, choice, inputs, targets, is_correct=False, weight=1.0):
  return {
    'idx': np.array([example, choice], np.int32),
    'inputs': np.array(inputs, np.int32),
    'targets': np.array(targets, np.int32),
    'is_correct': is_correct,
    'weight': weight,
  }


def draw(num_examples=11, seed=0, max_choices=5):
  """Examples with 2 to 5 choices, inputs and targets of many lengths."""
  rng = np.random.default_rng(seed)
  rows = []
  for example in range(num_examples):
    inputs = rng.integers(2, 60, rng.integers(1, SHAPES.input_length + 1))
    count = rng.integers(2, max_choices + 1)
    correct = rng.integers(count)
    for choice in range(count):
      targets = rng.integers(2, 60, rng.integers(1, SHAPES.target_length))
      rows.append(
        row(example, choice, inputs, [*targets, 1], choice == correct)
      )
  return rows


def by_hand(score):
  """A scorer in numpy, recording the shapes that it was called with."""
  calls = {'encode': [], 'score': []}

  def encode(inputs):
    ids = inputs['encoder_input_tokens']
    calls['encode'].append(ids.shape)
    return ids * 2

  def score_choices(encoded, inputs, decoder_inputs, targets):
    ids = inputs['encoder_input_tokens']
    np.testing.assert_array_equal(encoded, ids * 2)
    np.testing.assert_array_equal(decoder_inputs[..., 1:], targets[..., :-1])
    assert not decoder_inputs[..., 0].any()
    calls['score'].append((*ids.shape, *targets.shape[1:]))
    return np.array(
      [
        [score(list(a[a > 0]), list(b[b > 0])) for b in choices]
        for a, choices in zip(ids, targets, strict=True)
      ],
      np.float32,
    )

  return encode, score_choices, calls


def checksum(inputs, targets):
  return sum(inputs) * 0.01 - sum(i * t for i, t in enumerate(targets, 1))


@pytest.fixture(scope='module')
def model():
  config = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    mlp_dim=32,
    num_encoder_layers=1,
    num_decoder_layers=1,
  )
  model = EncoderDecoderModel(Transformer(config))
  shapes = {'encoder_input_tokens': (1, 8), 'decoder_input_tokens': (1, 8)}
  draw = jax.jit(lambda rng: model.get_initial_variables(rng, shapes)['params'])
  params = draw(jax.random.key(0))
  return model, jax.tree.map(lambda x: x * 3, params)


def test_grouped_scores_equal_scores_row_by_row(model):
  model, params = model
  rows = draw()
  random.Random(0).shuffle(rows)
  collected = scoring.collect('task', rows)
  encode = jax.jit(lambda batch: model.encode(params, batch))
  score_choices = jax.jit(lambda *args: model.score_choices(params, *args))
  grouped = scoring.score(collected, encode, score_choices, SHAPES)

  score_batch = jax.jit(lambda batch: model.score_batch(params, batch))
  for i, value in enumerate(grouped):
    inputs = np.zeros((1, SHAPES.input_length), np.int32)
    targets = np.zeros((1, SHAPES.target_length), np.int32)
    ids = collected.inputs[i].ids
    inputs[0, : len(ids)] = ids
    targets[0, : len(collected.targets[i])] = collected.targets[i]
    alone = score_batch(
      {
        'encoder_input_tokens': inputs,
        'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        'decoder_target_tokens': targets,
        'decoder_loss_weights': (targets > 0).astype(np.int32),
      }
    )
    np.testing.assert_allclose(value, alone[0], rtol=1e-5)


def test_inputs_are_encoded_once_and_shapes_are_few():
  rows = draw(num_examples=40)
  collected = scoring.collect('task', rows)
  encode, score_choices, calls = by_hand(checksum)
  scores = scoring.score(collected, encode, score_choices, SHAPES)
  wanted = [
    checksum(a.ids, b)
    for a, b in zip(collected.inputs, collected.targets, strict=True)
  ]
  np.testing.assert_allclose(scores, wanted, rtol=1e-6)
  assert len(calls['encode']) == 10
  assert set(calls['encode']) <= {(4, length) for length in (8, 16, 24)}
  # Up to five choices are decoded at once; their lengths are in a short list.
  assert {shape[2:] for shape in calls['score']} <= {
    (choices, length) for choices in (2, 3, 4, 8) for length in (8, 9)
  }
  assert len(calls['score']) == 10


def test_long_choices_are_decoded_in_parts():
  shapes = Shapes(batch_size=2, input_length=8, target_length=256)
  targets = [[*range(2, 2 + n), 1] for n in (200, 100, 3, 150, 99)]
  rows = [row(0, j, [5], t, j == 0) for j, t in enumerate(targets)]
  collected = scoring.collect('task', rows)
  encode, score_choices, calls = by_hand(checksum)
  scores = scoring.score(collected, encode, score_choices, shapes)
  wanted = [checksum([5], t) for t in targets]
  np.testing.assert_allclose(scores, wanted, rtol=1e-6)
  lengths = (256, 128, 8, 256, 128)
  assert calls['score'] == [(2, 8, 1, length) for length in lengths]
  assert len(calls['encode']) == 1


def test_rows_may_come_in_any_order():
  rows = draw()
  outcomes = set()
  for seed in range(3):
    shuffled = rows[:]
    random.Random(seed).shuffle(shuffled)
    collected = scoring.collect('task', shuffled)
    encode, score_choices, _ = by_hand(checksum)
    scores = scoring.score(collected, encode, score_choices, SHAPES)
    outcomes.add(scoring.rank(collected, scores))
  assert len(outcomes) == 1


def test_choices_with_other_inputs_are_encoded_apart():
  rows = [row(0, 0, [5], [7, 1]), row(0, 1, [6], [7, 1], True)]
  collected = scoring.collect('task', rows)
  encode, score_choices, _ = by_hand(lambda a, b: sum(a))
  scores = scoring.score(collected, encode, score_choices, SHAPES)
  assert scores.tolist() == [5, 6]
  assert scoring.rank(collected, scores).accuracy == 100


def rank(answers, scores, labels=None, weights=None, **options):
  """Ranks examples given by their correct choices and scores per choice."""
  rows, flat = [], []
  for i, (correct, values) in enumerate(zip(answers, scores, strict=True)):
    correct = correct if isinstance(correct, tuple) else (correct,)
    for j, value in enumerate(values):
      targets = labels[j] if labels else [10 + 7 * i + j, 1]
      weight = 1.0 if weights is None else weights[i]
      rows.append(row(i, j, [i + 2], targets, j in correct, weight))
      flat.append(value)
  collected = scoring.collect('task', rows)
  return scoring.rank(collected, np.array(flat, np.float32), **options)


def test_ties_go_to_the_lowest_index():
  result = rank([0, 1], [[-1, -1, -1], [-2, -1, -1]])
  assert result.predictions == (0, 1)
  assert result.accuracy == 100


def test_accuracy_is_weighted():
  result = rank([0, 0], [[0, -1], [-1, 0]], weights=[3.0, 1.0])
  assert result.accuracy == 75
  with pytest.raises(UserError, match="'task'.*weights"):
    rank([0], [[0, -1]], weights=[0.0])


def test_examples_without_exactly_one_correct_choice_are_counted():
  result = rank(
    [(), (0, 1), (1,), (0, 2)],
    [[0, -1], [0, -1, -2], [0, -1], [-1, 0, -1]],
  )
  assert result.none_correct == 1
  assert result.several_correct == 2
  assert result.accuracy == 25  # Of these four, only the second is right.
  assert result.examples == 4 and result.rows == 10
  np.testing.assert_allclose(
    result.chance, 100 * (0 + 2 / 3 + 1 / 2 + 2 / 3) / 4
  )


def test_length_normalisation_is_an_option():
  labels = [[5, 1], [5, 6, 7, 1]]
  scores = [[-3.0, -4.0]]
  assert rank([1], scores, labels).accuracy == 0
  assert rank([1], scores, labels, length_normalized=True).accuracy == 100


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_task(bad):
  with pytest.raises(UserError, match=r"'task'.*idx \(1, 0\)"):
    rank([0, 0], [[0, -1], [bad, 0]])
  collected = scoring.collect('nan_task', draw(2))
  encode, score_choices, _ = by_hand(lambda a, b: bad)
  with pytest.raises(UserError, match="'nan_task'"):
    scoring.score(collected, encode, score_choices, SHAPES)


def f1_by_hand(truth, chosen, label):
  pairs = list(zip(truth, chosen, strict=True))
  tp = sum(t == c == label for t, c in pairs)
  if not tp:
    return 0.0
  precision = tp / sum(c == label for _, c in pairs)
  recall = tp / sum(t == label for t, _ in pairs)
  return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize('num_labels', [2, 3, 4])
def test_f1_over_fixed_labels(num_labels):
  rng = np.random.default_rng(num_labels)
  labels = [[10 + j, 1] for j in range(num_labels)]
  truth = rng.integers(num_labels, size=30).tolist()
  scores = rng.normal(size=(30, num_labels))
  chosen = scores.argmax(1).tolist()
  wanted = [f1_by_hand(truth, chosen, j) for j in range(num_labels)]
  wanted = wanted[1] if num_labels == 2 else np.mean(wanted)
  np.testing.assert_allclose(rank(truth, scores, labels).f1, 100 * wanted)


def test_f1_is_left_out_where_choices_are_the_example_s_own():
  assert rank([0, 1], [[0, -1], [0, -1]]).f1 is None
  labels = [[5, 1], [6, 1], [7, 1]]
  assert rank([0, 1], [[0, -1], [0, -1, -2]], labels).f1 is None


def test_rows_that_cannot_be_ranked_are_refused():
  with pytest.raises(UserError, match="'empty' has no rows"):
    scoring.collect('empty', [])
  incomplete = row(0, 0, [2], [1])
  del incomplete['is_correct']
  with pytest.raises(UserError, match="'task' has no column 'is_correct'"):
    scoring.collect('task', [incomplete])
  with pytest.raises(UserError, match=r'two rows with idx \(0, 0\)'):
    scoring.collect('task', [row(0, 0, [2], [1])] * 2)
