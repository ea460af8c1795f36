"""What a run was configured with, read from what it says of itself."""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

import gin
from etils import epath

from moe_lite.checkpoints import formats, runs
from moe_lite.checkpoints.description import Description
from moe_lite.core import json_files
from moe_lite.core.errors import UserError
from moe_lite.models.model import EncoderDecoderModel
from moe_lite.process.quiet_tensorflow import import_tensorflow
from moe_lite.t5.description import from_json
from moe_lite.t5.network import Transformer
from moe_lite.training.run_folder import CONFIG, RUN

# The modules that register the tasks of this package.
_TASKS = ('tasks.mini', 'tasks.p3')


def read_config(folder: str, gin_files: Sequence[str] = ()) -> dict[str, Any]:
  """Returns the arguments of `training.train` that a run was given.

  They come from what its checkpoints and `run.json` say. Gin files are
  programs, so the run's own `config.gin` is not read, unless it is named.

  Args:
    folder: the folder of the run.
    gin_files: gin files that the user named, such as the run's `config.gin`.
      They take the place of gin's own configuration, and of what the run says.

  Returns:
    A dict that maps the names of arguments to values: `model`, `dataset`,
    `trainable`, `initial_checkpoint_path`, `base_dtype`, `mesh` and
    `fully_sharded`.

  Raises:
    UserError: if the run does not say enough, or a file cannot be read.
  """
  import_tensorflow()
  if gin_files:
    return _read_gin(gin_files)
  # Imported here, because it imports TensorFlow, which other forms of
  # parameters do not need.
  from moe_lite.data.dataset import Dataset

  description = _describe(folder)
  hint = (
    f' If you trust it, name its configuration: --gin_file={folder}/{CONFIG}'
  )
  network, data = description.method.network, description.data
  if network is None or data is None:
    lacks = 'network' if network is None else 'data'
    raise UserError(f'{folder} does not say its {lacks} by itself.{hint}')
  said = _read_run(folder)
  try:
    config = from_json(
      network,
      dtype=said.get('activation_dtype', 'float32'),
      scan_layers=bool(said.get('scan_layers', False)),
    )
    names = {field.name for field in dataclasses.fields(Dataset)}
    dataset = Dataset(**{x: y for x, y in data.items() if x in names})
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(f'{folder}: {error}{hint}') from error
  _register(dataset.mixture_or_task_name, hint)
  return {
    'model': EncoderDecoderModel(Transformer(config)),
    'dataset': dataset,
    'trainable': description.method.trainable,
    'initial_checkpoint_path': description.base.source,
    'base_dtype': said.get('base_dtype', 'float32'),
    'mesh': None,
    'fully_sharded': False,
  }


def _describe(folder: str) -> Description:
  found = formats.find(folder)
  description = None if found is None else found.describe(folder)
  if description is None:
    raise runs.not_a_run(folder)
  return description


def _read_gin(files: Sequence[str]) -> dict[str, Any]:
  """Evaluates gin files that the user named."""
  gin.clear_config()
  try:
    for file in files:
      gin.parse_config(epath.Path(file).read_text())
    return gin.get_bindings('training.train')
  except (ImportError, OSError, SyntaxError, ValueError) as error:
    raise UserError(
      f'--gin_file={files[0]} cannot be read: {error}. It names the modules '
      'that its run used. Install them, or run with the same PYTHONPATH.'
    ) from error


def _read_run(folder: str) -> dict[str, Any]:
  """Reads `run.json`; the result is empty where there is none."""
  path = epath.Path(folder) / RUN
  return json_files.read(path) if path.exists() else {}


def _register(name: str, hint: str) -> None:
  """Registers a task or mixture if it is one of this package's.

  Raises:
    UserError: if it is the user's, and nothing has registered it.
  """
  if not is_registered(name):
    raise UserError(
      f'{name!r} is not a task or mixture of this package. The configuration '
      f'of the run imports the module that registers it.{hint}'
    )


def is_registered(name: str) -> bool:
  """Whether there is a task or mixture; one of this package is registered."""
  from moe_lite.data.dataset import find

  for module in (None, *_TASKS):
    if module is not None:
      importlib.import_module(module)
    try:
      find(name)
      return True
    except UserError:
      continue
  return False
