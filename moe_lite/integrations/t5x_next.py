"""Suggests what to run after training under T5X: an evaluation of the run."""

import pathlib
from collections.abc import Sequence

from moe_lite.process import gin_paths, shell
from moe_lite.process.macros_of_models import MODELS

# An evaluation needs the same network and method, which are made from the files
# of these folders.
_FOLDERS = ('models', 'methods', 'routers')
_MACROS = tuple(f'--gin.{macro.name}=' for macro in MODELS)


def lines(argv: Sequence[str], model_dir: str, step: int) -> list[str]:
  """Returns lines that show a command to evaluate a run.

  Args:
    argv: the words of the command that trained.
    model_dir: the folder of the run.
    step: the last step of which it has a checkpoint.
  """
  files = [
    word.partition('=')[2] for word in argv if word.startswith('--gin_file=')
  ]
  folder = model_dir.rstrip('/')
  words = [
    *('python', '-m', 'moe_lite.t5x', 'eval'),
    *(f'--gin_file={f}' for f in files if _folder(f) in _FOLDERS),
    f'--gin_file={gin_paths.eval_data(files)}',
    '--gin_file=t5x/eval.gin',
    *(word for word in argv if word.startswith(_MACROS)),
    f'--gin.CHECKPOINT_PATH={f"{folder}/checkpoint_{step}"!r}',
    f'--gin.EVAL_OUTPUT_DIR={folder + "/eval"!r}',
  ]
  return [
    f'The run is in {folder}, at step {step}. Evaluate it:',
    f'  {shell.line(words)}',
  ]


def _folder(file: str) -> str:
  return pathlib.PurePath(file).parent.name
