"""Many targets of many inputs, scored together."""

import jax
import numpy as np
import pytest

from moe_lite.inference import answers, scoring
from moe_lite.inference.padding import Input, Shapes
from moe_lite.inference.scoring import Choices
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer
from tests.inference.choice_rows import SHAPES, by_hand, checksum, draw


def draw_choices(num_examples=11):
  return answers.collect('task', draw(num_examples)).choices


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
  choices = draw_choices()
  encode = jax.jit(lambda batch: model.encode(params, batch))
  score_choices = jax.jit(lambda *args: model.score_choices(params, *args))
  grouped = scoring.score(choices, encode, score_choices, SHAPES)

  score_batch = jax.jit(lambda batch: model.score_batch(params, batch))
  pairs = [(x.inputs.ids, target) for x in choices for target in x.targets]
  for (source, target), value in zip(
    pairs, np.concatenate(grouped), strict=True
  ):
    inputs = np.zeros((1, SHAPES.input_length), np.int32)
    targets = np.zeros((1, SHAPES.target_length), np.int32)
    inputs[0, : len(source)] = source
    targets[0, : len(target)] = target
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
  choices = draw_choices(num_examples=40)
  encode, score_choices, calls = by_hand(checksum)
  scores = scoring.score(choices, encode, score_choices, SHAPES)
  for x, found in zip(choices, scores, strict=True):
    assert found.dtype == np.float32
    wanted = [checksum(x.inputs.ids, target) for target in x.targets]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
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
  asked = Choices(Input([5]), [np.array(t) for t in targets])
  encode, score_choices, calls = by_hand(checksum)
  (scores,) = scoring.score([asked], encode, score_choices, shapes)
  wanted = [checksum([5], t) for t in targets]
  np.testing.assert_allclose(scores, wanted, rtol=1e-6)
  lengths = (256, 128, 4, 256, 128)
  assert calls['score'] == [(2, 8, 1, length) for length in lengths]
  assert len(calls['encode']) == 1


def test_a_batch_holds_inputs_of_like_numbers_of_targets_and_lengths():
  lengths, counts = (3, 20, 9, 2, 12), (2, 1, 2, 3, 1)
  choices = [
    Choices(Input([2] * n), [np.array([3, 1])] * count)
    for n, count in zip(lengths, counts, strict=True)
  ]
  encode, score_choices, calls = by_hand(checksum)
  scoring.score(choices, encode, score_choices, Shapes(2, 32, 8))
  # Inputs of 2 and 3 ids, then of 9 and 12, then of 20: these have 3 and 2
  # targets, then 2 and 1, then 1.
  assert calls['encode'] == [(2, 8), (2, 16), (2, 32)]
  assert calls['score'] == [(2, 8, 3, 4), (2, 16, 2, 4), (2, 32, 1, 4)]
