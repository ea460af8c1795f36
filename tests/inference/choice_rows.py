"""Rows of `_score_eval` tasks, and a model of a few lines that scores them."""

import numpy as np

from moe_lite.inference.padding import Shapes

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
