"""Starts a command, once nothing in the working folder stands in its way.

`python -m` has Python look into the working folder before anywhere else, so a
file of the user's with the name of a package that a command needs would run in
its place. This module imports nothing that could be hidden like that.
"""

import importlib
import importlib.util
import os
import pathlib
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
  """Runs `main(sys.argv)` of a module, and ends with the code it returns."""
  _check()
  sys.exit(importlib.import_module(module).main(sys.argv))


def run_gin(entry: str, run_file: str) -> NoReturn:
  """Runs a function that gin configures; arguments as of `cli.main`."""
  _check()
  from moe_lite.process import cli

  sys.exit(cli.main(entry, run_file, sys.argv))


def check_not_hidden(folder: str) -> None:
  """Raises UserError if something in a folder hides a package.

  Args:
    folder: that Python looks into first.
  """
  for name in _NEEDED:
    found = importlib.util.find_spec(name)
    if found is None:
      continue
    # A folder without an __init__ has no origin, and is many places or one.
    is_namespace = found.origin is None
    places = found.submodule_search_locations or ()
    where = pathlib.Path(found.origin or next(iter(places), '')).resolve()
    if where.name == '__init__.py':
      where = where.parent
    if name == 'tasks':
      is_hidden = where != _PACKAGE.parent.resolve() / name
    else:
      # Not anywhere below: a virtual environment often lies in the folder.
      is_beside = where.parent == pathlib.Path(folder).resolve()
      is_hidden = is_beside and not is_namespace
    if not is_hidden:
      continue
    raise UserError(
      f'{where} hides the package `{name}`, which this command needs, because '
      'Python finds it first. Rename it, or run the command in another folder.'
    )


def _check() -> None:
  try:
    check_not_hidden(os.getcwd())
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
