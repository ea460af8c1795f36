"""The table of all forms in which parameters lie on disk."""

import importlib.resources
from typing import Any

from etils import epath

from moe_lite.checkpoints import base_folder, exported, library, runs
from moe_lite.checkpoints.base_folder import WEIGHTS
from moe_lite.checkpoints.description import Description
from moe_lite.checkpoints.format import BaseFormat, Format
from moe_lite.checkpoints.hugging_face import hub, model
from moe_lite.checkpoints.hugging_face.file_names import CONFIG
from moe_lite.checkpoints.peft import summary
from moe_lite.checkpoints.t5x import native
from moe_lite.core import parameters
from moe_lite.core.errors import UserError, nearest
from moe_lite.core.types import Tree

# In the order in which a path is asked for them. T5X's come first: they need
# nothing but tensorstore, so that one in a bucket is found without TensorFlow
# and gcsfs, which the questions of others may need there.
TABLE: tuple[Format, ...] = (
  native.FORMAT,
  exported.FORMAT,
  library.FORMAT,
  summary.FORMAT,
  model.FORMAT,
  base_folder.FOLDER,
  runs.FORMAT,
  base_folder.FILE,
)


def find(path: str) -> Format | None:
  """The form that lies at a path, as `local` gives it; None if none does."""
  return next((form for form in TABLE if form.is_at(path)), None)


def find_base(path: str, given: str) -> BaseFormat:
  """The form of the base that lies at a path.

  Args:
    path: the path, as `local` gives it.
    given: the path as the user gave it, for the message.

  Raises:
    UserError: if there is no base.
  """
  found = find(path)
  if not isinstance(found, BaseFormat):
    raise no_base(path, given)
  return found


def no_base(path: str, given: str) -> UserError:
  """The error for a path where there is no base; see `find_base`."""
  names = shipped()
  return UserError(
    f'{given!r}: there is no base. Give a safetensors file, a folder with '
    f'{WEIGHTS}, a T5X checkpoint, a folder of Hugging '
    f"Face's ({CONFIG} and weights), a model of its hub "
    f'({hub.PREFIX}ORGANISATION/NAME), the MODEL_DIR of a run '
    'that trained every parameter, or the name of a base that ships with the '
    f'package ({", ".join(names) or "there are none"}).{nearest(given, names)}'
    f'{_checkpoints_in(epath.Path(path))}'
  )


def read_trained(
  path: str, step: int | None = None, assumed: Description | None = None
) -> tuple[Tree, Description]:
  """Reads what a run trained, in whatever form it lies at a path.

  Args:
    path: the path of a run, of exported adapters, or of a T5X checkpoint.
    step: the step of a run's checkpoint; None takes the last one.
    assumed: what to take a T5X checkpoint for, which does not describe itself.

  Returns:
    The trained parameters, layers apart, as NumPy arrays; and what they say of
    themselves.

  Raises:
    UserError: if nothing of the kind lies there, it is damaged, or it has no
      steps to choose from.
  """
  found = find(path)
  if step is not None and found is not None and not found.has_steps:
    raise UserError(
      f'step = {step} chooses a checkpoint of a run, and {path!r} is not a '
      'run: leave it out.'
    )
  read = None if found is None else found.trained(path, step, assumed)
  if read is None:
    hint = _checkpoints_in(epath.Path(path))
    raise UserError(f'{runs.not_a_run(path)}{hint}')
  return read


def read_adapters(
  path: str, step: int | None = None, assumed: Description | None = None
) -> tuple[dict[str, Any], Description]:
  """Reads adapters alone, as `read_trained` does: path to leaf.

  Raises:
    UserError: see `read_trained`; or if parameters of the base were trained as
      well, without which the adapters would be others.
  """
  tree, description = read_trained(path, step, assumed)
  leaves = parameters.flatten(tree)
  others = sorted(x for x in leaves if not parameters.is_adapter(x))
  if others:
    raise UserError(
      f'{path} trained parameters of its base as well, such as {others[0]}. It '
      'is a base of its own, and not adapters for another one.'
    )
  return leaves, description


def local(path: str) -> str:
  """Where it lies: a hub's model is downloaded, a shipped base has a folder."""
  if fetched := hub.fetch(path):
    return fetched
  if path in shipped() and not epath.Path(path).exists():
    return str(_shipped_folder() / path)
  return path


def shipped() -> list[str]:
  """Names of the bases that ship with the package."""
  folder = _shipped_folder()
  if not folder.exists():
    return []
  return sorted(p.name for p in folder.iterdir() if (p / WEIGHTS).exists())


def _shipped_folder() -> epath.Path:
  return epath.Path(
    str(importlib.resources.files('moe_lite.checkpoints') / 'shipped')
  )


def _checkpoints_in(folder: epath.Path) -> str:
  """' T5X checkpoints are in it: give ...' for the folder of a run of T5X."""
  if not folder.is_dir():
    return ''
  steps = [p for p in folder.iterdir() if native.is_checkpoint(str(p))]
  if not steps:
    return ''
  last = max(steps, key=lambda p: (len(p.name), p.name))
  return f' T5X checkpoints are in it: give one, such as {last}.'
