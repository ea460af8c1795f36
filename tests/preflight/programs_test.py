"""The programs of a run, as shapes: what they take, and what they need."""

import gin
import jax
import pytest

from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.preflight import configuration, programs
from tests import gin_test

MINI = ('models/t5_1_1_mini', 'methods/mov', 'data/mini')


@pytest.fixture(autouse=True)
def empty_config():
  gin.clear_config()
  yield
  gin.clear_config()


def make(run, **macros):
  entry = configuration.configure(gin_test.command(*MINI, run))
  configuration.bind(macros)
  arguments = gin.get_bindings(entry)
  return arguments, programs.programs(entry, arguments, jax.devices()[:1])


def test_training_is_one_step():
  arguments, (step,) = make('runs/finetune', BATCH_SIZE=4)
  assert step.name == 'train step' and step.rows == 4 and step.mesh == (1, 1)
  assert list(step.parts) == ['base', 'trainable', 'optimizer', 'batch']
  paths = parameters.flatten(step.parts['trainable'])
  assert paths and all(map(parameters.is_adapter, paths))
  assert not any(
    map(parameters.is_adapter, parameters.flatten(step.parts['base']))
  )
  lengths = arguments['dataset'].task_feature_lengths
  assert step.tokens == 4 * (lengths['inputs'] + lengths['targets'])


def test_a_step_on_answer_choices_decodes_all_of_them():
  arguments, (step,) = make('runs/few_shot', BATCH_SIZE=4, NUM_CHOICES=3)
  lengths = arguments['dataset'].task_feature_lengths
  batch = step.parts['batch']
  assert batch['decoder_target_tokens'].shape == (4, 3, lengths['targets'])
  assert step.tokens == 4 * (lengths['inputs'] + 3 * lengths['targets'])
  state, _ = jax.eval_shape(step.function, *step.arguments)
  shapes = lambda tree: {
    p: x.shape for p, x in parameters.flatten(tree).items()
  }
  assert shapes(state.trainable) == shapes(step.parts['trainable'])


def test_validation_ranks_beside_the_optimizer():
  mixture = 'mini_train_one_score_eval'
  _, (step, encode, score) = make('runs/finetune', EVAL_MIXTURE=mixture)
  assert encode.name == 'validation: encode'
  assert score.name == 'validation: score'
  for program in (encode, score):
    assert program.held == {'optimizer': step.parts['optimizer']}
    assert program.parts.keys() == {'base', 'trainable', 'batch'}


def test_evaluation_encodes_scores_and_generates():
  arguments, made = make('runs/eval', BATCH_SIZE=4)
  lengths = arguments['task_feature_lengths']
  encode, score, generate = made
  names = [program.name for program in made]
  assert names == ['encode', 'score', 'generate']
  assert encode.tokens == 4 * lengths['inputs']
  assert score.tokens == generate.tokens == 4 * lengths['targets']
  for program in made:
    parts = program.parts
    assert list(parts) == ['base', 'trainable', 'batch']
    count = lambda tree: len(jax.tree.leaves(tree))
    whole = count(program.arguments[0])
    assert count(parts['base']) + count(parts['trainable']) == whole
  # Shapes are enough to trace it.
  shapes = jax.eval_shape(score.function, *score.arguments)
  assert shapes.shape == (4, 1)
  shapes = jax.eval_shape(generate.function, *generate.arguments)
  assert shapes.shape == (4, lengths['targets'])


def test_inference_generates_or_scores():
  _, (generate,) = make('runs/infer')
  assert generate.name == 'generate'
  _, scoring = make('runs/infer', INFER_MODE='score')
  assert [program.name for program in scoring] == ['encode', 'score']


def test_a_batch_that_the_mesh_does_not_split_is_refused():
  entry = configuration.configure(gin_test.command(*MINI, 'runs/eval'))
  configuration.bind({'BATCH_SIZE': 3, 'MESH': (2, 1)})
  devices = jax.devices()[:1] * 2
  with pytest.raises(UserError, match='BATCH_SIZE = 3 must be a multiple of'):
    programs.programs(entry, gin.get_bindings(entry), devices)
