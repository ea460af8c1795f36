"""Suggests what to run after training: an evaluation of the run."""

import sys

import seqio

from moe_lite.data import catalog
from moe_lite.process import gin_paths, shell
from moe_lite.training import run_folder


def lines(model_dir: str, trained_on: str | None = None) -> list[str]:
  """Returns lines that show a command to evaluate a run.

  The command reads the run's own configuration, which makes the network and the
  method again, whatever files, macros and bindings the run was started with. A
  data file and runs/eval.gin say how to evaluate them.

  Args:
    model_dir: the folder of the run.
    trained_on: the task or mixture that it was trained on, if its routers read
      the task, so that it can be evaluated on its own data sets alone.

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
    f'--gin_file={gin_paths.eval_data(names)}',
    '--gin_file=runs/eval.gin',
    f'--gin.CHECKPOINT_PATH={model_dir!r}',
    f'--gin.EVAL_OUTPUT_DIR={model_dir.rstrip("/") + "/eval"!r}',
  ]
  if trained_on is not None:
    twin = trained_on + catalog.SCORE_EVAL
    names = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
    name = twin if twin in names else trained_on
    arguments.append(f'--gin.MIXTURE_OR_TASK_NAME={name!r}')
  command = shell.line(['python', '-m', 'moe_lite.eval', *arguments])
  return ['Evaluate it:', f'  {command}']
