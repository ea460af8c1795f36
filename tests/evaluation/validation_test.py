"""A run that is measured while it trains."""

import dataclasses
import json
import logging

import jax
import numpy as np
import pytest

from moe_lite.checkpoints import bases, runs
from moe_lite.checkpoints.run_checkpoints import Checkpoints
from moe_lite.core import parameters, partitioning
from moe_lite.core.errors import UserError
from moe_lite.data import dataset
from moe_lite.evaluation import Validation, evaluate
from moe_lite.inference import padding
from moe_lite.process import interrupts
from moe_lite.training import optimizers
from tests import tiny_run, tiny_training

LENGTHS = tiny_run.LENGTHS
HELD_OUT = Validation('tiny_score_eval', period=2, examples=None, batch_size=8)
RANKED = dataclasses.replace(HELD_OUT, choose_by_held_out=True)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  tiny_run.add_suite()
  return tiny_run.write(tmp_path_factory.mktemp('base'))[0]


def train(folder, base, validation=RANKED, steps=6, **changes):
  options = {
    'dataset': dataset.Dataset('tiny_task', LENGTHS, batch_size=4),
    'schedule': optimizers.constant(0.1),
    'save_period': 3,
    'keep': 1,
    'validation': validation,
    **changes,
  }
  tiny_training.train(folder, base, tiny_run.model(), steps, **options)
  return folder


def lines(folder):
  text = (folder / 'validation.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope='module')
def whole(base, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'whole'
  return train(folder, base, best_by='accuracy')


def test_it_finds_what_an_evaluation_finds(base, whole, tmp_path):
  found = lines(whole)
  assert [line['step'] for line in found] == [0, 2, 4, 6]
  step = runs.steps(str(whole))[-1]
  evaluation = evaluate(
    model=tiny_run.model(),
    checkpoint_path=str(whole),
    output_dir=str(tmp_path / 'out'),
    mixture_or_task_name='tiny_score_eval',
    task_feature_lengths=LENGTHS,
    initial_checkpoint_path=base,
    base_dtype='float32',
    batch_size=8,
  )
  (line,) = (line for line in found if line['step'] == step)
  assert line['accuracy'] == pytest.approx(evaluation.average.median)
  for of_set in evaluation.datasets:
    assert line[f'accuracy/{of_set.dataset}'] == pytest.approx(of_set.median)


def test_the_best_checkpoint_is_kept_besides_the_last(whole):
  found = lines(whole)[1:]
  best = max(found, key=lambda line: (line['accuracy'], -line['step']))
  assert set(runs.steps(str(whole))) == {best['step'], 6}


@pytest.mark.slow
def test_an_interrupted_run_finds_and_keeps_the_same(
  base, whole, tmp_path, monkeypatch
):
  monkeypatch.setattr(Checkpoints, 'reached_preemption', lambda *_: True)
  folder = tmp_path / 'run'
  for _ in range(6):
    try:
      train(folder, base, best_by='accuracy')
    except interrupts.Interrupted:
      continue
  assert lines(folder) == lines(whole)
  assert runs.steps(str(folder)) == runs.steps(str(whole))


def test_the_loss_is_that_of_training_and_nothing_compiles_twice(
  base, tmp_path, caplog
):
  tokens = Validation('tiny_task', period=1, examples=8, split='train')
  with caplog.at_level(logging.WARNING), jax.log_compiles():
    train(tmp_path / 'run', base, tokens, steps=3)
  compiled = [
    record.message
    for record in caplog.records
    if 'Finished XLA compilation of jit(score_choices)' in record.message
  ]
  assert len(compiled) == 1
  found = lines(tmp_path / 'run')
  assert set(found[0]) == {'step', 'loss'}
  # In the beginning, adapters change nothing.
  alone = tiny_run.model(adapters={})
  rows = dataset.read(dataset.find('tiny_task'), 'train', LENGTHS)[:8]
  batch = {
    **padding.pad_inputs([padding.Input.of(row) for row in rows], 8, 16),
    **padding.pad_targets([row['targets'] for row in rows], 8, 8),
  }
  scores = alone.score_batch(
    parameters.unflatten(dict(bases.read(base))), batch
  )
  tokens = sum(len(row['targets']) for row in rows)
  assert found[0]['loss'] == pytest.approx(-float(scores.sum()) / tokens)


@pytest.mark.slow
def test_a_run_ends_when_nothing_becomes_better(base, tmp_path, capsys):
  folder = tmp_path / 'run'
  options = {'best_by': 'accuracy', 'patience': 1, 'steps': 20}
  # Nothing changes, so nothing becomes better.
  train(folder, base, schedule=optimizers.constant(1e-30), **options)
  printed = capsys.readouterr().err
  assert '1 validations in turn were not better in accuracy' in printed
  assert runs.steps(str(folder)) == [2, 4]
  train(folder, base, schedule=optimizers.constant(1e-30), **options)
  assert 'no better accuracy was found' in capsys.readouterr().err


def test_a_validation_that_overflows_is_one_message(base, tmp_path):
  """The base is finite, and its activations are not."""
  leaves = {
    path: np.full(leaf.shape, 3e38, np.float32)
    if 'decoder' in path and 'wo' in path
    else leaf
    for path, leaf in dict(bases.read(base)).items()
  }
  model = tiny_run.model(adapters={})
  tokens = Validation('tiny_task', examples=2)
  measure = tokens.prepare(model, LENGTHS, None)(partitioning.make_mesh(None))
  with pytest.raises(UserError, match="'tiny_task' gives a loss of"):
    measure(parameters.unflatten(leaves))


def test_mistakes(base, tmp_path):
  refuse = lambda message: pytest.raises(UserError, match=message)
  begin = lambda **changes: train(tmp_path / 'run', base, **changes)
  with refuse('BEST_BY .* needs EVAL_MIXTURE'):
    begin(validation=Validation(), best_by='loss')
  with refuse('has answer choices: give a `_score_eval`'):
    begin(validation=Validation('tiny_task'), best_by='accuracy')
  with refuse('held out for evaluation: what is chosen by them'):
    begin(best_by='accuracy', validation=HELD_OUT)
  with refuse("did you mean|is no registered|'tiny_tsk'"):
    begin(validation=Validation('tiny_tsk'))
  assert not (tmp_path / 'run' / 'checkpoints' / '3').exists()
