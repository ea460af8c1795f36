"""Under the real T5X: the same files train, save, resume and evaluate.

Run with an interpreter that has T5X: `bash launch/test_t5x.sh PYTHON`.
"""

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import flax.serialization
import jax
import numpy as np
import pytest

from moe_lite import adapters, routing
from moe_lite.checkpoints import bases as base_checkpoints
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.integrations import t5x_checkpoints
from moe_lite.process import cli, gin_paths
from tasks.mini import vocabulary
from tests import tiny
from tests.tasks.p3 import rows

has_t5x = importlib.util.find_spec('t5x') is not None
needs_t5x = pytest.mark.skipif(
  not has_t5x, reason='needs T5X: bash launch/test_t5x.sh PYTHON'
)
pytestmark = pytest.mark.filterwarnings('ignore')

TASK = 'mini_who_blank_score_eval'
FEW = ('--gin.BATCH_SIZE=8', '--gin.LEARNING_RATE=0.03')


def command(module, *arguments, devices=1, files=(), code=0):
  """Runs `python -m module` with gin files; returns what it printed."""
  flags = f'--xla_force_host_platform_device_count={devices}'
  search = (f'--gin_search_paths={gin_paths.folder()}',)
  done = subprocess.run(
    [sys.executable, '-m', module]
    + [*(search if module.startswith('t5x') else ())]
    + [f'--gin_file={name}.gin' for name in files]
    + list(arguments),
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags},
    capture_output=True,
    text=True,
  )
  assert done.returncode == code, done.stderr[-5000:]
  return done.stdout + done.stderr


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """The mini base as a checkpoint of T5X, as it stands after 1,000 steps."""
  folder = tmp_path_factory.mktemp('base') / 'checkpoint_1000'
  leaves = {
    path: np.asarray(leaf, np.float32)
    for path, leaf in base_checkpoints.read('mini').items()
  }
  native.write(str(folder), leaves, 1000)
  return folder


def train(run, base, method, *arguments, routers=(), **options):
  return command(
    't5x.train',
    f'--gin.MODEL_DIR={str(run)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    *FEW,
    *arguments,
    **options,
    files=(
      'models/t5_1_1_mini',
      f'methods/{method}',
      *routers,
      'data/mini',
      't5x/finetune',
    ),
  )


def evaluate(output, checkpoint, base, *arguments):
  """Accuracy in percent that `t5x.eval` finds on one task."""
  command(
    't5x.eval',
    f'--gin.CHECKPOINT_PATH={str(checkpoint)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
    f'--gin.MIXTURE_OR_TASK_NAME={TASK!r}',
    *arguments,
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini_eval', 't5x/eval'),
  )
  (path,) = output.rglob(f'{TASK}-metrics.jsonl')
  (line,) = path.read_text().splitlines()
  return json.loads(line)


def evaluate_here(output, checkpoint, base):
  """Accuracy in percent that `moe_lite.eval` finds on the same task."""
  command(
    'moe_lite.eval',
    f'--gin.CHECKPOINT_PATH={str(checkpoint)!r}',
    f'--gin.INITIAL_CHECKPOINT_PATH={str(base)!r}',
    f'--gin.EVAL_OUTPUT_DIR={str(output)!r}',
    f'--gin.MIXTURE_OR_TASK_NAME={TASK!r}',
    *("--gin.BASE_DTYPE='float32'", '--gin.NUM_EXPERTS=4'),
    files=('models/t5_1_1_mini', 'methods/mov', 'data/mini_eval', 'runs/eval'),
  )
  outcome = json.loads((output / 'results.json').read_text())
  return outcome['tasks'][0]['value']


def read(checkpoint):
  """Path to what the checkpoint's file says of a leaf."""
  contents = flax.serialization.msgpack_restore(
    (checkpoint / 'checkpoint').read_bytes()
  )
  return t5x_checkpoints.flatten(contents['optimizer'])


def bytes_of(folder, pattern='*'):
  return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())


def losses(run):
  """Step to loss, of all processes that trained a run; the last one counts."""
  import tensorflow as tf

  found = {}
  for path in sorted((run / 'train').glob('events.*')):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.tag == 'loss':
          found[event.step] = float(tf.make_ndarray(value.tensor))
  return found


@pytest.mark.t5x
@needs_t5x
def test_adapters_alone_are_saved_resumed_and_evaluated(base, tmp_path):
  run = tmp_path / 'run'
  settings = ('--gin.NUM_EXPERTS=4', '--gin.SAVE_PERIOD=5')
  train(run, base, 'mov', *settings, '--gin.TRAIN_STEPS=5')
  printed = train(run, base, 'mov', *settings, '--gin.TRAIN_STEPS=8')
  # The base's 1,000 steps are not counted, the run's 5 are.
  assert 'Starting main loop over steps 5-8' in printed
  saved = read(run / 'checkpoint_8')
  paths = [p.removeprefix('target/') for p in saved if p.startswith('target/')]
  assert len(paths) == 32 and all('_adapter/' in path for path in paths)
  states = [p for p in saved if p.startswith('state/param_states/')]
  assert states and all('_adapter/' in path for path in states)
  assert int(saved['state/step']) == 8
  position = bytes_of(run / 'checkpoint_8', 'train_ds*')
  size = bytes_of(run / 'checkpoint_8') - position
  print(f'checkpoint: {size:,} bytes; base: {bytes_of(base):,} bytes')
  assert position and size < bytes_of(base) / 4
  trained = evaluate(
    tmp_path / 'trained', run / 'checkpoint_8', base, '--gin.NUM_EXPERTS=4'
  )
  assert trained['step'] == 8
  # Our own loop evaluates the same checkpoint.
  ours = evaluate_here(tmp_path / 'ours', run / 'checkpoint_8', base)
  assert trained['accuracy'] == pytest.approx(ours)


@pytest.mark.t5x
@needs_t5x
def test_a_run_goes_on_exactly_and_on_its_own_base_alone(base, tmp_path):
  settings = ('--gin.NUM_EXPERTS=3', '--gin.LOG_PERIOD=1', '--gin.KEEP=1')
  long = '--gin.TRAIN_STEPS=10'
  # The base has its layers apart, and this network stacks them.
  scanned = (*settings, '--gin.SCAN_LAYERS=True', '--gin.SAVE_PERIOD=5')
  train(tmp_path / 'whole', base, 'mov', *scanned, long)
  train(tmp_path / 'run', 'mini', 'mov', *scanned, '--gin.TRAIN_STEPS=5')
  train(tmp_path / 'run', 'mini', 'mov', *scanned, long)
  expected = losses(tmp_path / 'whole')
  assert sorted(expected) == list(range(1, 11))
  assert losses(tmp_path / 'run') == expected

  other = tmp_path / 'other'
  leaves = base_checkpoints.read('mini')
  name = 'encoder/layers_0/mlp/wo/kernel'
  leaves[name] = leaves[name] + 1
  native.write(str(other), leaves, 1)
  more = (*scanned, '--gin.TRAIN_STEPS=15')
  printed = train(tmp_path / 'run', other, 'mov', *more, code=1)
  assert 'stands on another base' in printed
  routers = {'routers': ('routers/top_k',), 'code': 1}
  printed = train(tmp_path / 'run', 'mini', 'mov', *more, **routers)
  assert 'trained another method' in printed
  printed = train(tmp_path / 'run', 'mini', 'ia3', *more, code=1)
  assert 'trained another method' in printed

  checkpoint = tmp_path / 'run' / 'checkpoint_10'
  exported = str(tmp_path / 'exported')
  command('moe_lite.convert', 'export', str(checkpoint), f'--to={exported}')
  import moe_lite

  texts = [
    moe_lite.load('mini', adapters=x).generate(['Is a robin a bird?'])
    for x in (exported, str(checkpoint))
  ]
  assert texts[0] == texts[1]


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
