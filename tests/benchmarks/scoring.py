"""Rank classification of 4-choice examples against scoring row by row.

  python -m tests.benchmarks.scoring [--model=small] [--examples=8]

Inputs of 1024 tokens, choices of 4 to 24, MoV-10 on a random base in float32.
Both are compiled beforehand and timed in one process, alternately. Prints JSON:
the median of the ratios, their range, and how far the scores differ.
"""

import functools
import json
import time

import jax
import numpy as np
from absl import app, flags

from moe_lite import adapters
from moe_lite.inference import scoring
from moe_lite.inference.padding import Input, Shapes, pad_inputs, pad_targets
from moe_lite.inference.scoring import Choices
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.t5 import T5Config, Transformer

_MODEL = flags.DEFINE_string('model', 'small', 'T5 1.1 small, base or large.')
_EXAMPLES = flags.DEFINE_integer('examples', 8, 'Examples of 4 choices.')
_BATCH = flags.DEFINE_integer('batch_size', 4, 'Inputs a batch.')
_REPEATS = flags.DEFINE_integer('repeats', 3, 'Pairs of timings.')
_CHOICES, _INPUTS, _TARGETS = 4, 1024, 24

# Embedding, heads, head, mlp, layers of each stack.
_SIZES = {
  'small': (512, 6, 64, 1024, 8),
  'base': (768, 12, 64, 2048, 12),
  'large': (1024, 16, 64, 2816, 24),
}


def build(name: str) -> EncoderDecoderModel:
  embed, heads, head, mlp, layers = _SIZES[name]
  sites = ('key', 'value', 'intermediate')
  return EncoderDecoderModel(
    Transformer(
      T5Config(
        vocab_size=32_128,
        emb_dim=embed,
        num_heads=heads,
        head_dim=head,
        mlp_dim=mlp,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        scan_layers=True,
        adapters=dict.fromkeys(
          sites, functools.partial(adapters.MoV, num_experts=10)
        ),
      )
    )
  )


def draw_examples(examples: int) -> list[Choices]:
  rng = np.random.default_rng(0)
  draw = lambda length: rng.integers(3, 32_000, length).astype(np.int32)
  inputs = [Input(draw(_INPUTS)) for _ in range(examples)]
  lengths = rng.integers(4, _TARGETS + 1, (examples, _CHOICES))
  return [
    Choices(x, [np.append(draw(n - 1), 1).astype(np.int32) for n in row])
    for x, row in zip(inputs, lengths, strict=True)
  ]


def main(_) -> None:
  model = build(_MODEL.value)
  abstract = model.abstract_variables()['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jax.numpy.asarray(
      rng.normal(0, max(leaf.shape[0], 64) ** -0.5, leaf.shape), np.float32
    ),
    abstract,
  )
  examples = draw_examples(_EXAMPLES.value)
  pairs = [(x.inputs, target) for x in examples for target in x.targets]
  shapes = Shapes(_BATCH.value, _INPUTS, 256)
  encode = functools.partial(jax.jit(model.encode), params)
  score_choices = functools.partial(jax.jit(model.score_choices), params)
  score_batch = functools.partial(jax.jit(model.score_batch), params)

  def row_by_row() -> np.ndarray:
    scores = []
    for start in range(0, len(pairs), shapes.batch_size):
      inputs, ids = zip(*pairs[start : start + shapes.batch_size], strict=True)
      targets = pad_targets(ids, shapes.batch_size, 256)
      batch = {
        **pad_inputs(inputs, shapes.batch_size, _INPUTS),
        **targets,
        'decoder_loss_weights': np.int32(targets['decoder_target_tokens'] > 0),
      }
      scores.append(np.asarray(score_batch(batch)))
    return np.concatenate(scores)

  def by_example() -> np.ndarray:
    scores = scoring.score(examples, encode, score_choices, shapes)
    return np.concatenate(scores)

  difference = np.abs(row_by_row() - by_example()).max()
  ratios, seconds = [], []
  for _ in range(_REPEATS.value):
    times = []
    for function in (row_by_row, by_example):
      start = time.perf_counter()
      function()
      times.append(time.perf_counter() - start)
    ratios.append(times[0] / times[1])
    seconds.append(times)
  row_seconds, example_seconds = np.median(seconds, axis=0)
  print(
    json.dumps(
      {
        'model': _MODEL.value,
        'examples': len(examples),
        'choices': _CHOICES,
        'inputs': _INPUTS,
        'row_by_row_examples_per_s': _EXAMPLES.value / row_seconds,
        'by_example_examples_per_s': _EXAMPLES.value / example_seconds,
        'times_faster': float(np.median(ratios)),
        'range': [min(ratios), max(ratios)],
        'largest_difference': float(difference),
      }
    )
  )


if __name__ == '__main__':
  app.run(main)
