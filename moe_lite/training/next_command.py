"""Suggests what to run after training: an evaluation of the run."""

import pathlib
import shlex
import sys
from collections.abc import Sequence

from moe_lite.process import gin_paths
from moe_lite.training import run_folder


def lines(model_dir: str) -> list[str]:
  """Returns lines that show a command to evaluate a run.

  The command reads the run's own configuration, which makes the network and the
  method again, whatever files, macros and bindings the run was started with. A
  data file and runs/eval.gin say how to evaluate them.

  Args:
    model_dir: the folder of the run.

  Returns:
    No lines if the run was not started from a command line.
  """
  names = [
    argument.partition('=')[2]
    for argument in sys.argv[1:]
    if argument.startswith('--gin_file=')
  ]
  if not names:
    return []
  config = f'{model_dir.rstrip("/")}/{run_folder.CONFIG}'
  arguments = [
    f'--gin_file={config}',
    f'--gin_file={eval_data(names)}',
    '--gin_file=runs/eval.gin',
    f'--gin.CHECKPOINT_PATH={model_dir!r}',
    f'--gin.EVAL_OUTPUT_DIR={model_dir.rstrip("/") + "/eval"!r}',
  ]
  command = ' '.join(shlex.quote(argument) for argument in arguments)
  return ['Evaluate it:', f'  python -m moe_lite.eval {command}']


def eval_data(names: Sequence[str]) -> str:
  """Returns the data file to evaluate on after training with other files.

  It is data/t0_eval.gin for data/t0_train.gin, and data/mini_eval.gin for
  data/mini.gin.

  Args:
    names: the gin files of the training.

  Returns:
    'data/...' if none of them is a data file that has a counterpart.
  """
  counterparts = [f for f in map(_counterpart, names) if f]
  return counterparts[-1] if counterparts else 'data/...'


def _counterpart(name: str) -> str | None:
  path = pathlib.PurePath(name)
  if path.parent.name != 'data':
    return None
  stem = path.stem.removesuffix('_train').removesuffix('_pretrain')
  counterpart = f'data/{stem}_eval.gin'
  return counterpart if (gin_paths.folder() / counterpart).exists() else None
