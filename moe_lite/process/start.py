"""Starts a command, unless something in the working folder is in its way.

With `python -m`, Python looks for packages in the working folder first. If a
file there bears the name of a package that the command needs, Python would run
that file in its place. This module checks for such files. It imports nothing
itself that a file could hide like this.
"""

import importlib
import importlib.util
import os
import pathlib
import signal
import sys
from typing import NoReturn

from moe_lite.core.errors import UserError

# The top-level packages that commands import, our own tasks first.
_NEEDED = (
  *('tasks', 'gin', 'absl', 'clu', 'etils', 'flax', 'huggingface_hub'),
  *('jax', 'jinja2', 'matplotlib', 'ml_dtypes', 'numpy', 'optax', 'orbax'),
  *('pyarrow', 'rouge_score', 'sacrebleu', 'safetensors', 'scipy'),
  *('sentencepiece', 'seqio', 'sklearn', 'tensorboard', 'tensorflow'),
  *('tensorstore', 'tqdm'),
)
_PACKAGE = pathlib.Path(__file__).parents[1]


def run(module: str) -> NoReturn:
  """Runs `main(sys.argv)` of a module, and exits with the code it returns.

  With --help, the module is not imported: its docstring is printed.
  """
  _begin(module)
  sys.exit(importlib.import_module(module).main(sys.argv))


def run_gin(command: str, entry: str, run_file: str) -> NoReturn:
  """Runs a function that gin configures, and exits as `cli.main` says.

  Args:
    command: the module whose docstring describes the command.
    entry: the function to call, such as 'training.train'.
    run_file: a gin file that configures it. Messages name it.
  """
  _begin(command)
  from moe_lite.process import cli

  sys.exit(cli.main(entry, run_file, sys.argv))


def check_not_hidden(folder: str) -> None:
  """Raises UserError if something in a folder hides a package.

  Args:
    folder: the folder that Python looks into first.
  """
  for name in _NEEDED:
    found = importlib.util.find_spec(name)
    if found is None:
      continue
    # A folder without an __init__ is a namespace package. It has no origin, and
    # lies at one place or more.
    is_namespace = found.origin is None
    places = found.submodule_search_locations or ()
    where = pathlib.Path(found.origin or next(iter(places), '')).resolve()
    if where.name == '__init__.py':
      where = where.parent
    if name == 'tasks':
      is_hidden = where != _PACKAGE.parent.resolve() / name
    else:
      # What lies deeper in the folder does not count, because a virtual
      # environment often does.
      is_beside = where.parent == pathlib.Path(folder).resolve()
      is_hidden = is_beside and not is_namespace
    if not is_hidden:
      continue
    raise UserError(
      f'{where} hides the package `{name}`, which this command needs: Python '
      'finds it before the package. Rename it, or run the command in another '
      'folder.'
    )


def _begin(module: str) -> None:
  """Prints the help of a command if it is asked for, and exits."""
  try:
    check_not_hidden(os.getcwd())
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  from moe_lite.process import allocator, help_text

  if help_text.is_asked(sys.argv):
    # Whoever reads it, such as `head`, may stop before its end.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(help_text.of(module))
    sys.exit(0)

  allocator.keep_freed()
