"""What to run after training: an evaluation of that very run."""

import pathlib
import shlex
import sys

from moe_lite.process import gin_paths
from moe_lite.training import run_folder


def lines(model_dir: str) -> list[str]:
  """A command that evaluates a run, [] if it was not started by command.

  The run's own configuration makes the network and the method again, whatever
  files, macros and bindings it was started with; a data file and runs/eval.gin
  say what to do with them.
  """
  names = [
    argument.partition('=')[2]
    for argument in sys.argv[1:]
    if argument.startswith('--gin_file=')
  ]
  if not names:
    return []
  data = [f for f in map(_eval_data, names) if f]
  config = f'{model_dir.rstrip("/")}/{run_folder.CONFIG}'
  arguments = [
    f'--gin_file={config}',
    f'--gin_file={data[-1] if data else "data/..."}',
    '--gin_file=runs/eval.gin',
    f'--gin.CHECKPOINT_PATH={model_dir!r}',
    f'--gin.EVAL_OUTPUT_DIR={model_dir.rstrip("/") + "/eval"!r}',
  ]
  command = ' '.join(shlex.quote(argument) for argument in arguments)
  return ['Evaluate it:', f'  python -m moe_lite.eval {command}']


def _eval_data(name: str) -> str | None:
  """data/t0_train.gin to data/t0_eval.gin, data/mini.gin to mini_eval.gin."""
  path = pathlib.PurePath(name)
  if path.parent.name != 'data':
    return None
  stem = path.stem.removesuffix('_train').removesuffix('_pretrain')
  counterpart = f'data/{stem}_eval.gin'
  return counterpart if (gin_paths.folder() / counterpart).exists() else None
