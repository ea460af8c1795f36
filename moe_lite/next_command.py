"""What to run after training: the same command, as an evaluation."""

import pathlib
import re
import shlex
import sys

from moe_lite import gin_paths

_MACRO = re.compile(r'--gin\.([A-Z][A-Z0-9_]*)=')


def lines(model_dir: str) -> list[str]:
  """A command that evaluates this run, [] if it was not started by command.

  It keeps the files and macros that make the network and the method, and drops
  those of the run.
  """
  runs = gin_paths.folder() / 'runs'
  evaluation = runs / 'eval.gin'
  files = [a for a in sys.argv[1:] if a.startswith('--gin_file=')]
  if not files or not evaluation.exists():
    return []
  of_runs = set().union(*(gin_paths.macros(p) for p in runs.glob('*.gin')))
  kept = []
  for argument in sys.argv[1:]:
    if argument in files:
      name = pathlib.PurePath(argument.partition('=')[2])
      if name.parent.name in ('models', 'methods', 'routers'):
        kept.append(argument)
      elif name.parent.name == 'data' and (counterpart := _eval_data(name)):
        kept.append(f'--gin_file={counterpart}')
    elif (match := _MACRO.match(argument)) and match[1] not in of_runs:
      kept.append(argument)
  return [
    'Evaluate it:',
    '  python -m moe_lite.eval '
    + ' '.join(shlex.quote(a) for a in kept)
    + ' --gin_file=runs/eval.gin '
    + shlex.quote(f'--gin.CHECKPOINT_PATH={model_dir!r}')
    + ' '
    + shlex.quote(f'--gin.EVAL_OUTPUT_DIR={model_dir + "/eval"!r}'),
  ]


def _eval_data(name: pathlib.PurePath) -> str | None:
  """data/t0_train.gin to data/t0_eval.gin, data/mini.gin to mini_eval.gin."""
  stem = name.stem.removesuffix('_train').removesuffix('_pretrain')
  path = f'data/{stem}_eval.gin'
  return path if (gin_paths.folder() / path).exists() else None
