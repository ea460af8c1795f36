"""From a grid to runs: names, folders and commands."""

from moe_lite.sweep import expansion
from tests.sweep.grids import grid

MOV = ['methods/mov.gin', {'NUM_EXPERTS': 10}]


def expand(**changes):
  return expansion.expand(grid(**changes), 'runs/sweeps/x/')


def test_every_combination_is_a_variant_in_the_grids_order():
  axes = {
    'method': {'MoV': 'methods/mov.gin', 'MoLoRA': 'methods/molora.gin'},
    'NUM_EXPERTS': [2, 5],
  }
  plan = expand(axes=axes, search={}, seeds=[3])
  assert list(plan.settings) == [
    'frozen base',
    'MoV, NUM_EXPERTS=2',
    'MoV, NUM_EXPERTS=5',
    'MoLoRA, NUM_EXPERTS=2',
    'MoLoRA, NUM_EXPERTS=5',
  ]
  assert [run.folder for run in plan.runs()][:2] == [
    'runs/sweeps/x/frozen_base',
    'runs/sweeps/x/MoV_NUM_EXPERTS=2/seed_3',
  ]
  assert expand(axes=axes, search={}, seeds=[3]) == plan


def test_commands_are_whole_and_in_order():
  plan = expand(axes={'method': {'MoV-10': MOV}}, seeds=[7])
  setting = plan.settings['MoV-10'][1]
  (run,) = setting.runs
  folder = 'runs/sweeps/x/MoV-10/LEARNING_RATE=0.3/seed_7'
  assert run.folder == folder
  assert list(run.train.flags) == [
    '--gin_file=models/t5_1_1_mini.gin',
    '--gin_file=methods/mov.gin',
    '--gin_file=data/mini.gin',
    '--gin_file=runs/finetune.gin',
    '--gin.TRAIN_STEPS=4',
    '--gin.NUM_EXPERTS=10',
    '--gin.LEARNING_RATE=0.3',
    '--gin.SEED=7',
    f"--gin.MODEL_DIR='{folder}'",
  ]
  assert list(run.evaluation.flags) == [
    f'--gin_file={folder}/config.gin',
    '--gin_file=data/mini_eval.gin',
    '--gin_file=runs/eval.gin',
    f"--gin.CHECKPOINT_PATH='{folder}'",
    f"--gin.EVAL_OUTPUT_DIR='{folder}/eval'",
  ]
  assert run.train.line().startswith('python -m moe_lite.train --gin_file=')


def test_the_frozen_base_is_evaluated_once_and_not_trained():
  (setting,) = expand().settings['frozen base']
  (run,) = setting.runs
  assert run.train is None
  assert "--gin.CHECKPOINT_PATH='base'" in run.evaluation.flags
  assert 'frozen base' not in expand(frozen=False).settings


def test_an_axis_replaces_what_the_grid_gives_to_training():
  axes = {'batch': {'a': ['methods/ia3.gin', {'TRAIN_STEPS': 9}]}}
  run = expand(axes=axes).settings['a'][0].runs[0]
  assert [f for f in run.train.flags if 'TRAIN_STEPS' in f] == [
    '--gin.TRAIN_STEPS=9'
  ]


def test_a_run_begins_with_the_run_of_its_seed_in_another_sweep():
  begin = {'INITIAL_ADAPTERS': 'runs/first/IA3/seed_10{SEED}'}
  axes = {'method': {'grown': ['methods/mov.gin', begin]}}
  runs = expand(axes=axes, seeds=[5, 6]).settings['grown'][0].runs
  assert [
    flag
    for run in runs
    for flag in run.train.flags
    if 'INITIAL_ADAPTERS' in flag
  ] == [
    "--gin.INITIAL_ADAPTERS='runs/first/IA3/seed_105'",
    "--gin.INITIAL_ADAPTERS='runs/first/IA3/seed_106'",
  ]
