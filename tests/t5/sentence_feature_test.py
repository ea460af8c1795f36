"""Routing by a vector that the data set brings, from training to the report."""

import csv
import dataclasses
import functools
import json
import pathlib

import gin
import jax
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import partitioning
from moe_lite.core.errors import UserError
from moe_lite.core.features import INPUTS_EMBEDDING
from moe_lite.data import catalog, dataset
from moe_lite.data.batches import Batches
from moe_lite.models import decoding
from moe_lite.process import cli
from moe_lite.routing_report import command
from tests import feature_task, tiny
from tests.paths import TINY_GIN

DATASET = dataset.Dataset(
  feature_task.NAME, feature_task.LENGTHS, batch_size=4, packing=False
)
COMMON = (
  f'--gin_file={TINY_GIN}',
  '--gin_file=methods/mov.gin',
  '--gin_file=routers/sentence.gin',
  '--gin.NUM_EXPERTS=4',
  "--gin.SENTENCE='feature'",
  f'--gin.SENTENCE_SIZE={feature_task.SIZE}',
  f'--gin.TASK_FEATURE_LENGTHS={feature_task.LENGTHS}',
  '--gin.BATCH_SIZE=8',
  # Adapters alone make nothing of a base that was drawn at random.
  "--gin.TRAINABLE='.*'",
)


def model(**fields):
  router = functools.partial(routing.SoftRouter, **fields)
  return tiny.model(
    {'key': functools.partial(adapters.MoV, num_experts=2, router=router)}
  )


def test_batches_hold_the_vector_of_each_row():
  batches = Batches(DATASET, partitioning.make_mesh((1, 1)), 0)
  batch = {name: np.array(x) for name, x in next(batches).items()}
  vectors = batch['inputs_embedding']
  assert vectors.shape == (4, feature_task.SIZE)
  assert vectors.dtype == np.float32
  words = [
    feature_task.FEATURES['targets'].vocabulary.decode(list(map(int, row)))
    for row in batch['decoder_target_tokens']
  ]
  wanted = [feature_task.tiny_task.WORDS[v.argmax()] for v in vectors]
  assert words == wanted


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'packing': True}, 'PACKING = True .*belongs to one'),
    (
      {'mixture_or_task_name': 'tiny_task'},
      "'inputs_embedding', which is not an output feature of tiny_task",
    ),
    ({'task_feature_lengths': {'inputs': 8}}, 'TASK_FEATURE_LENGTHS'),
    *(
      (
        {
          'task_feature_lengths': {
            **feature_task.LENGTHS,
            INPUTS_EMBEDDING: size,
          }
        },
        rf"gives 'inputs_embedding' {size} numbers, .*shape \[4\]",
      )
      for size in (2, 8)
    ),
  ],
)
def test_data_that_cannot_be_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    dataset.check(dataclasses.replace(DATASET, **changes), 384)


@pytest.mark.parametrize(
  ('embedding', 'message'),
  [({}, 'does not have the'), ({'inputs_embedding': 7}, 'here it has 7')],
)
def test_a_missing_or_foreign_vector_is_one_message(embedding, message):
  network = model(sentence='feature', sentence_size=3)
  params = network.abstract_variables()['params']
  batch = tiny.batch()
  rows = len(batch['encoder_input_tokens'])
  batch |= {k: np.zeros((rows, n), np.float32) for k, n in embedding.items()}
  with pytest.raises(UserError, match=f"SENTENCE = 'feature' .*{message}"):
    jax.eval_shape(network.loss_fn, params, batch)


def test_choices_and_beams_are_routed_by_their_own_example():
  network = model(sentence='feature', sentence_size=3)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.5, x.shape).astype(np.float32),
    network.abstract_variables()['params'],
  )
  batch = tiny.batch()
  shifted, targets = (batch[f'decoder_{x}_tokens'] for x in ('input', 'target'))
  vectors = rng.normal(0, 3, (len(targets), 3)).astype(np.float32)
  batch['inputs_embedding'] = vectors
  alone = jax.jit(network.score_batch)(params, batch)
  encoded = jax.jit(network.encode)(params, batch)
  scores = jax.jit(network.score_choices)(
    params, encoded, batch, shifted[:, None], targets[:, None]
  )
  np.testing.assert_allclose(scores[:, 0], alone, rtol=1e-4)
  batch['inputs_embedding'] = vectors[::-1]
  other = jax.jit(network.score_batch)(params, batch)
  assert np.abs(other - alone).max() > 1e-3
  predict = jax.jit(
    functools.partial(
      network.predict_batch, decode_fn=decoding.beam_search, num_decodes=2
    )
  )
  beams = predict(params, batch)
  for row in range(len(targets)):
    part = {name: x[row : row + 1] for name, x in batch.items()}
    np.testing.assert_array_equal(predict(params, part)[0], beams[row])


@pytest.mark.parametrize(
  'fields',
  [
    {'sentence': 'feature'},
    {'sentence': 'inputs', 'sentence_size': 3},
    {'sentence_size': 3},
    {'sentence': 'feature', 'sentence_size': 0},
    {'sentence': 'feature', 'sentence_size': -1},
    {'sentence': 'feature', 'sentence_size': True},
  ],
)
def test_a_size_belongs_to_a_feature(fields):
  with pytest.raises(UserError, match='SENTENCE_SIZE = '):
    routing.SoftRouter(num_experts=2, **fields)


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_looked_at(tmp_path, capsys):
  """The inputs are all alike: what is learnt came by the vectors alone."""
  base, run = tiny.save_base(tmp_path / 'base'), str(tmp_path / 'run')
  common = (*COMMON, f'--gin.INITIAL_CHECKPOINT_PATH={base!r}')
  of_task = "--gin.MIXTURE_OR_TASK_NAME='{}'".format

  def start(entry, file, *arguments):
    argv = ['x', *common, f'--gin_file={file}', *arguments]
    try:
      code = cli.main(entry, file, argv)
    finally:
      gin.clear_config()
    assert code == 0, capsys.readouterr().err

  start(
    'training.train',
    'runs/finetune.gin',
    *(f'--gin.MODEL_DIR={run!r}', of_task(feature_task.NAME)),
    *('--gin.PACKING=False', '--gin.TRAIN_STEPS=120'),
    *('--gin.LEARNING_RATE=0.1', '--gin.SAVE_PERIOD=120'),
  )
  start(
    'evaluation.evaluate',
    'runs/eval.gin',
    *(f'--gin.CHECKPOINT_PATH={run!r}', f'--gin.EVAL_OUTPUT_DIR={run!r}'),
    of_task(feature_task.NAME + catalog.SCORE_EVAL),
  )
  results = json.loads(pathlib.Path(run, 'results.json').read_text())
  assert results['tasks'][0]['value'] > 60  # Of 25 by chance.
  start(
    'inference.infer',
    'runs/infer.gin',
    *(f'--gin.CHECKPOINT_PATH={run!r}', f'--gin.INFER_OUTPUT_DIR={run!r}'),
    of_task(feature_task.NAME),
  )
  lines = pathlib.Path(run, 'predictions.jsonl').read_text().splitlines()
  assert len({json.loads(line)['prediction'] for line in lines}) > 1
  code = cli.guard(command.report, ['x', run, '--examples=4'], None)
  assert code == 0, capsys.readouterr().err
  with open(f'{run}/routing/sentences.csv') as file:
    rows = [row for row in csv.DictReader(file) if 'key' in row['router']]
  by_router = {}
  for row in rows:
    by_router.setdefault(row['router'], set()).add(row['probability'])
  # One decision for all tokens of an example.
  assert rows and all(len(values) == 1 for values in by_router.values())
