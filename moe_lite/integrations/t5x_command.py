"""Trains, evaluates or infers with T5X's loop, on our networks and methods.

  python -m moe_lite.t5x train --gin_file=models/t5_1_1_mini.gin
      --gin_file=methods/mov.gin --gin_file=data/mini.gin
      --gin_file=t5x/finetune.gin --gin.MODEL_DIR="'runs/t5x'"
      --gin.INITIAL_CHECKPOINT_PATH="'mini'"
  python -m moe_lite.t5x eval ... --gin_file=t5x/eval.gin
  python -m moe_lite.t5x infer ... --gin_file=t5x/infer.gin

This calls the functions that `python -m t5x.train`, `t5x.eval` and `t5x.infer`
call. Flags and messages are those of moe_lite.train, and macros are checked as
they are there. The gin files of this package and of T5X are found.
"""

import sys
from collections.abc import Sequence

import gin

from moe_lite.core.errors import UserError, nearest
from moe_lite.core.progress import say
from moe_lite.process import cli

# The function that each kind of run calls, and the gin file that configures it.
_KINDS = {
  'train': ('train', 't5x/finetune.gin'),
  'eval': ('evaluate', 't5x/eval.gin'),
  'infer': ('infer', 't5x/infer.gin'),
}
_MODEL_DIR = 'MODEL_DIR/gin.macro.value'
_KEEPS_LAST = 'T5X keeps the last KEEP checkpoints, and takes all steps'
_MEASURES = (
  'T5X measures in its own way: add --gin_file=t5x/validation.gin with '
  'VALIDATION_MIXTURE'
)
# Macros of our own loop that mean nothing in T5X's.
_REASONS = {
  'ALLOW_CHANGES': 'T5X does not compare the settings of a run',
  'BEST_BY': _KEEPS_LAST,
  'CHOOSE_BY_HELD_OUT': _KEEPS_LAST,
  'CHECKPOINT_STEP': 'a checkpoint of T5X is a folder of its own',
  'DATA_SHARDS': 'T5X gives each host a shard of the data',
  'EVAL_EXAMPLES': _MEASURES,
  'EVAL_MIXTURE': _MEASURES,
  'LOGGERS': "T5X's trainer makes its own writers, for TensorBoard",
  'MERGE': 'give INITIAL_ADAPTERS what python -m moe_lite.library merge wrote',
  'OPTIMIZER': "t5x/finetune.gin takes T5X's Adafactor, because T5X's other "
  'optimizers cannot leave parameters out',
  'PATIENCE': _KEEPS_LAST,
  'ROUTING_METRICS': 'T5X has no place for measures of each router; '
  'python -m moe_lite.routing_report shows them for a checkpoint',
}


def main(argv: Sequence[str]) -> int:
  """Runs the command, and returns its exit code."""
  return cli.guard(_run, argv, __doc__)


def _run(argv: Sequence[str]) -> None:
  kind = argv[1] if len(argv) > 1 else ''
  if kind not in _KINDS:
    raise UserError(
      f'{kind!r} is not a kind of run: give {", ".join(_KINDS)}.'
      f'{nearest(kind, _KINDS)} See --help.'
    )
  for argument in argv:
    name = argument.removeprefix('--gin.').partition('=')[0]
    if name in _REASONS and name != argument:
      raise UserError(f'--gin.{name} is not possible here: {_REASONS[name]}.')
  # Imported here, so that mistakes are told before T5X is needed.
  from moe_lite.integrations import t5x_next, t5x_parts

  name, file = _KINDS[kind]
  function = t5x_parts.function(kind, name)
  # Gin files of T5X call the module of the command `__main__`.
  setattr(sys.modules['__main__'], name, function)
  configured = cli.configure(
    [argv[0], *argv[2:]], name, file, folders=[str(t5x_parts.FOLDER.parent)]
  )
  t5x_parts.call(configured)
  if kind == 'train':
    folder = gin.query_parameter(_MODEL_DIR)
    step = t5x_parts.latest_step(folder)
    if step is not None:
      say(*t5x_next.lines(argv, folder, step))
