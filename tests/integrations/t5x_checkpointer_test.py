"""What T5X saves of a run, and how the run goes on."""

import shutil

import pytest

from moe_lite.checkpoints import bases
from moe_lite.checkpoints.t5x import native
from tests.integrations.t5x_commands import (
  bytes_of,
  command,
  evaluate,
  evaluate_here,
  losses,
  needs_t5x,
  read,
  train,
  undescribe,
)

pytestmark = [pytest.mark.t5x, pytest.mark.filterwarnings('ignore'), needs_t5x]


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


def test_a_run_goes_on_exactly_and_on_its_own_base_alone(base, tmp_path):
  settings = ('--gin.NUM_EXPERTS=3', '--gin.LOG_PERIOD=1', '--gin.KEEP=3')
  long = '--gin.TRAIN_STEPS=10'
  # The base has its layers apart, and this network stacks them.
  scanned = (*settings, '--gin.SCAN_LAYERS=True', '--gin.SAVE_PERIOD=5')
  train(tmp_path / 'whole', base, 'mov', *scanned, long)
  train(tmp_path / 'run', 'mini', 'mov', *scanned, '--gin.TRAIN_STEPS=5')
  train(tmp_path / 'run', 'mini', 'mov', *scanned, long)
  expected = losses(tmp_path / 'whole')
  assert sorted(expected) == list(range(1, 11))
  assert losses(tmp_path / 'run') == expected
  # Checkpoints of earlier versions did not describe the run.
  early = tmp_path / 'early'
  shutil.copytree(tmp_path / 'whole' / 'checkpoint_5', early / 'checkpoint_5')
  undescribe(early / 'checkpoint_5')
  train(early, base, 'mov', *scanned, long)
  assert losses(early) == {step: expected[step] for step in range(6, 11)}
  # As if it had been killed before its first checkpoint but that of step 0.
  killed = tmp_path / 'killed'
  shutil.copytree(tmp_path / 'whole' / 'checkpoint_0', killed / 'checkpoint_0')
  train(killed, base, 'mov', *scanned, '--gin.TRAIN_STEPS=5')
  assert losses(killed) == {step: expected[step] for step in range(1, 6)}

  other = tmp_path / 'other'
  leaves = bases.read('mini')
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
