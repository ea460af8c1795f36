"""Under the real T5X: the same files train, save, resume and evaluate.

Run with an interpreter that has T5X: `bash launch/test_t5x.sh PYTHON`.
"""

import functools
import json
import pathlib
import types

import jax
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.core import parameters
from moe_lite.core.errors import UserError
from moe_lite.process import cli
from tasks.mini import vocabulary
from tests import tiny
from tests.core import unknown_axes_test
from tests.integrations.t5x_commands import (
  FEW,
  command,
  evaluate,
  evaluate_here,
  has_t5x,
  losses,
  needs_t5x,
  train,
)
from tests.tasks.p3 import rows

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.mark.t5x
@needs_t5x
def test_the_frozen_base_scores_as_in_our_evaluation(base, tmp_path):
  """It was loaded, then; and rank classification agrees."""
  # A method without adapters: its tree is the base's.
  theirs = evaluate(tmp_path / 'theirs', base, base, '--gin.ADAPTERS={}')
  ours = evaluate_here(tmp_path / 'ours', 'base', 'mini')
  assert theirs['accuracy'] == pytest.approx(ours)


@pytest.mark.t5x
@needs_t5x
def test_a_run_of_our_loop_is_evaluated_under_t5x(base, tmp_path):
  run = str(tmp_path / 'run')
  command(
    'moe_lite.train',
    f'--gin.MODEL_DIR={run!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    *(*FEW, '--gin.TRAIN_STEPS=8', '--gin.NUM_EXPERTS=4'),
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini', 'runs/finetune'),
  )
  exported = tmp_path / 'exported' / 'checkpoint_8'
  command('moe_lite.convert', 'export_t5x', run, f'--to={exported}')
  theirs = evaluate(tmp_path / 'theirs', exported, base, '--gin.NUM_EXPERTS=4')
  ours = evaluate_here(tmp_path / 'ours', run, base)
  assert theirs['step'] == 8
  assert theirs['accuracy'] == pytest.approx(ours)


@pytest.mark.t5x
@needs_t5x
def test_text_is_generated(base, tmp_path):
  command(
    't5x.infer',
    f'--gin.CHECKPOINT_PATH={str(base)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    f'--gin.INFER_OUTPUT_DIR={str(tmp_path)!r}',
    "--gin.MIXTURE_OR_TASK_NAME='mini_who_blank'",
    *('--gin.ADAPTERS={}', '--gin.NUM_DECODES=2', '--gin.BATCH_SIZE=100'),
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini_eval', 't5x/infer'),
  )
  path = tmp_path / 'mini_who_blank-predict.jsonl-00000-of-00001'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert len(lines) == 1000 and all('prediction' in line for line in lines)


@pytest.mark.t5x
@needs_t5x
def test_twenty_steps_have_the_losses_of_our_loop(base, tmp_path):
  """(IA)3, whose initial values are no draw; same data, same Adafactor."""
  steps = '--gin.TRAIN_STEPS=20'
  train(
    tmp_path / 'theirs',
    base,
    'ia3',
    *(steps, '--gin.LOG_PERIOD=1', "--gin.BASE_DTYPE='float32'"),
  )
  command(
    'moe_lite.train',
    f'--gin.MODEL_DIR={str(tmp_path / "ours")!r}',
    *(*FEW, steps, '--gin.LOG_PERIOD=1', "--gin.BASE_DTYPE='float32'"),
    files=('models/t5_1_1_mini', 'methods/ia3', 'data/mini', 'runs/finetune'),
  )
  found = losses(tmp_path / 'theirs')
  lines = (tmp_path / 'ours' / 'metrics.jsonl').read_text().splitlines()
  ours = {r['step']: r['normalized_loss'] for r in map(json.loads, lines)}
  assert list(ours) == sorted(found) == list(range(1, 21))
  theirs = [found[step] for step in ours]
  np.testing.assert_allclose(theirs, list(ours.values()), rtol=1e-4)
  assert theirs[-1] < 0.5 * theirs[0]


@pytest.mark.t5x
@needs_t5x
def test_routers_losses_and_draws_are_those_of_our_loop():
  from moe_lite.integrations import t5x as integration

  weights = {'load_balance': 0.3, 'router_z_loss': 0.2, 'entropy_bonus': 0.1}
  common = {'z_loss': 1e-4, 'loss_normalizing_factor': 'AVERAGE_PER_SEQUENCE'}

  def theirs(jitter=0.0, **weights):
    router = functools.partial(routing.SoftRouter, jitter=jitter)
    mov = functools.partial(adapters.MoV, num_experts=3, router=router)
    ours = tiny.model(dict.fromkeys(('key', 'wo'), mov), **common, **weights)
    return ours, integration.EncoderDecoderModel(
      module=ours.module,
      input_vocabulary=None,
      output_vocabulary=None,
      optimizer_def=None,
      trainable=parameters.TRAINABLE_ADAPTERS,
      **common,
      **weights,
    )

  ours, model = theirs(**weights)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.5, x.shape).astype(np.float32),
    ours.abstract_variables()['params'],
  )
  batch = tiny.batch()
  grad = lambda model, *rngs: jax.jit(
    jax.value_and_grad(model.loss_fn, has_aux=True)
  )(params, batch, *rngs)
  (loss, metrics), gradient = grad(model, None)
  (want, values), wanted = grad(ours)
  np.testing.assert_allclose(loss, want, rtol=1e-5)
  for name in ('load_balance', 'router_z_loss', 'router_entropy'):
    np.testing.assert_allclose(metrics[name].compute(), values[name], rtol=1e-5)
  trained, _ = parameters.split(gradient, parameters.TRAINABLE_ADAPTERS)
  wanted, _ = parameters.split(wanted, parameters.TRAINABLE_ADAPTERS)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6),
    trained,
    wanted,
  )
  # Routers draw while training, and only then.
  _, still = theirs()
  _, moved = theirs(jitter=0.5)
  key = jax.random.key(0)
  assert grad(moved, None)[0][0] == grad(still, None)[0][0]
  assert abs(grad(moved, key)[0][0] - grad(still, key)[0][0]) > 1e-4


@pytest.mark.t5x
@needs_t5x
def test_constraints_on_activations_reach_the_compiler():
  from moe_lite.integrations import t5x as integration

  model = integration.EncoderDecoderModel(
    module=tiny.model({}).module,
    input_vocabulary=None,
    output_vocabulary=None,
    optimizer_def=None,
    trainable=parameters.EVERYTHING,
  )
  params = tiny.model({}).abstract_variables()['params']
  mesh = (jax.device_count(), 1)
  partitioner = integration.Partitioner(mesh)
  loss = partitioner.partition(model.loss_fn, None, None, (2,))
  text = loss.lower(params, tiny.batch(), None).as_text()
  assert text.count('sharding_constraint') > 20


@pytest.mark.t5x
@needs_t5x
def test_an_axis_that_no_rule_knows_is_refused():
  from moe_lite.integrations import t5x as integration

  def begin(adapter):
    model = integration.EncoderDecoderModel(
      module=tiny.model({'wo': adapter}).module,
      input_vocabulary=None,
      output_vocabulary=None,
      optimizer_def=None,
      trainable=parameters.TRAINABLE_ADAPTERS,
    )
    shapes = dict.fromkeys(tiny.batch(), (2, 4))
    jax.eval_shape(
      lambda key: model.get_initial_variables(key, shapes), jax.random.key(0)
    )

  begin(adapters.IA3)
  with pytest.raises(UserError, match="wo_adapter/shift .* axis 'ranks'"):
    begin(unknown_axes_test.Unknown)


RUNS = {
  **{name: (name, ()) for name in ('full', 'ia3', 'lora', 'mov', 'molora')},
  'mov, top-k': ('mov', ('routers/top_k',)),
  'molora, top-k': ('molora', ('routers/top_k',)),
}


@pytest.mark.t5x
@needs_t5x
@pytest.mark.parametrize('name', RUNS)
def test_every_method_trains_on_two_partitions_in_microbatches(
  base, tmp_path, name
):
  method, routers = RUNS[name]
  train(
    tmp_path / 'run',
    base,
    method,
    *('--gin.TRAIN_STEPS=5', '--gin.SAVE_PERIOD=5'),
    *('--gin.MESH=(2, 2)', '--gin.MICROBATCHES=2'),
    *(['--gin.LOAD_BALANCE=0.01'] if routers else ()),
    routers=routers,
    devices=4,
  )
  assert (tmp_path / 'run' / 'checkpoint_5' / 'checkpoint').exists()


@pytest.mark.t5x
@needs_t5x
def test_evaluation_while_training(base, tmp_path):
  command(
    'moe_lite.t5x train',
    f'--gin.MODEL_DIR={str(tmp_path)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    *(*FEW, '--gin.NUM_EXPERTS=2', '--gin.TRAIN_STEPS=4'),
    *('--gin.SAVE_PERIOD=4', '--gin.EVAL_PERIOD=2', '--gin.EVAL_STEPS=2'),
    "--gin.VALIDATION_MIXTURE='mini_who_blank_score_eval'",
    files=(
      *('models/t5_1_1_mini', 'methods/mov', 'data/mini'),
      *('t5x/finetune', 't5x/validation'),
    ),
  )
  (path,) = tmp_path.rglob('mini_who_blank_score_eval-metrics.jsonl')
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert [line['step'] for line in lines] == [2, 4]
  assert all(0 <= line['accuracy'] <= 100 for line in lines)


@pytest.mark.t5x
@needs_t5x
def test_two_processes_of_two_devices_train_as_one(base, tmp_path):
  """Whether a process's devices split its matrices or its rows."""
  settings = (
    *('--gin.TRAIN_STEPS=4', '--gin.SAVE_PERIOD=2', '--gin.LOG_PERIOD=1'),
    *("--gin.BASE_DTYPE='float32'", '--gin.NUM_EXPERTS=2'),
  )
  found = []
  for mesh in ('(2, 2)', '(4, 1)'):
    run = tmp_path / mesh
    train(
      run,
      base,
      'mov',
      *(*settings, f'--gin.MESH={mesh}'),
      module='moe_lite.t5x train',
      devices=2,
      processes=2,
    )
    found.append(losses(run))
    assert (run / 'checkpoint_4' / 'checkpoint').exists()
  assert list(found[0]) == [1, 2, 3, 4]
  np.testing.assert_allclose(*(list(x.values()) for x in found), rtol=1e-4)


@pytest.mark.t5x
@needs_t5x
def test_what_a_newer_t5x_lacks_is_named():
  from moe_lite.integrations import t5x as integration

  moved = types.ModuleType('t5x.optimizers')
  with pytest.raises(integration.MissingT5XError, match='no t5x.optimizers.Mu'):
    integration.require(moved, 'MultiOptimizer')


@pytest.mark.skipif(has_t5x, reason='T5X is installed here')
def test_without_t5x_one_message_says_what_to_install(capsys):
  argv = [
    'train',
    *(f'--gin_file={f}.gin' for f in ('models/t5_1_1_mini', 'methods/mov')),
    *(f'--gin_file={f}.gin' for f in ('data/mini', 't5x/finetune')),
    "--gin.MODEL_DIR='x'",
  ]
  assert cli.main('training.train', 'runs/finetune.gin', argv) == 2
  error = capsys.readouterr().err
  assert 'T5X cannot be imported' in error and 'not on PyPI' in error
  assert 'Traceback' not in error
  assert pathlib.Path('x').exists() is False


@pytest.mark.t5x
@needs_t5x
def test_p3_trains_and_is_ranked_alike_in_both_loops(base, tmp_path):
  task = 'cos_e_v1.11_question_option_description_text'
  twin = 'super_glue_cb_can_we_infer_score_eval'
  for name in (task, twin):
    rows.write_cache(tmp_path / 'p3', name, {'train': 40, 'validation': 20})
  common = (
    f'--gin.P3_DIR={str(tmp_path / "p3")!r}',
    f'--gin.P3_VOCABULARY={vocabulary.PATH!r}',
    f'--gin.P3_EXTRA_IDS={vocabulary.EXTRA_IDS}',
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}",
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    *('--gin.NUM_EXPERTS=2', '--gin.BATCH_SIZE=8'),
  )
  run = tmp_path / 'run'
  printed = command(
    't5x.train',
    f'--gin.MODEL_DIR={str(run)!r}',
    f'--gin.MIXTURE_OR_TASK_NAME={task!r}',
    *('--gin.TRAIN_STEPS=2', '--gin.SAVE_PERIOD=2'),
    *common,
    files=(
      'models/t5_1_1_mini',
      'methods/mov',
      'data/t0_train',
      't5x/finetune',
    ),
  )
  checkpoint = run / 'checkpoint_2'
  assert 'Starting main loop' in printed
  found = []
  for module, file in (
    ('t5x.eval', 't5x/eval'),
    ('moe_lite.eval', 'runs/eval'),
  ):
    output = tmp_path / module
    command(
      module,
      f'--gin.CHECKPOINT_PATH={str(checkpoint)!r}',
      f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
      f'--gin.MIXTURE_OR_TASK_NAME={twin!r}',
      *(() if module.startswith('t5x') else ("--gin.BASE_DTYPE='float32'",)),
      *common,
      files=('models/t5_1_1_mini', 'methods/mov', 'data/t0_eval', file),
    )
    if module.startswith('t5x'):
      (path,) = output.rglob(f'{twin}-metrics.jsonl')
      found.append(json.loads(path.read_text())['accuracy'])
    else:
      outcome = json.loads((output / 'results.json').read_text())
      found.append(outcome['tasks'][0]['value'])
  assert found[0] == pytest.approx(found[1])
