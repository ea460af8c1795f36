"""Defaults are read from gin files as they stand there."""

import gin

from moe_lite.process import cli, macro_defaults
from moe_lite.process.macro_defaults import REQUIRED, Default


def test_values_come_with_their_files():
  files = ['runs/finetune.gin', 'runs/few_shot.gin', 'runs/eval.gin']
  found = macro_defaults.read(files)
  assert found['MODEL_DIR'] == [Default(REQUIRED, ('runs/finetune.gin',))]
  assert found['SEED'] == [Default('0', ('runs/finetune.gin', files[2]))]
  assert found['SCHEDULE'] == [
    Default('@optimizers.constant()', (files[0],)),
    Default('@optimizers.linear_decay()', (files[1],)),
  ]


def test_a_file_counts_at_its_first_match():
  found = macro_defaults.find(['routers/soft.gin', 'routers/*.gin'])
  assert found[0] == 'routers/soft.gin'
  assert len(found) == len(set(found)) > 5


def test_they_are_what_gin_takes():
  run = 'runs/eval.gin'
  files = ('models/t5_1_1_mini.gin', 'methods/mov.gin', 'data/mini.gin', run)
  argv = [
    *('x', *(f'--gin_file={file}' for file in files)),
    *("--gin.CHECKPOINT_PATH='x'", "--gin.EVAL_OUTPUT_DIR='x'"),
  ]
  cli.configure(argv, 'evaluation.evaluate', run)
  try:
    for name, (default,) in macro_defaults.read([run]).items():
      if default.value != REQUIRED and '@' not in default.value:
        taken = gin.query_parameter(f'{name}/gin.macro.value')
        assert repr(taken) == default.value, name
  finally:
    gin.clear_config()
