"""Which of the known forms lies at a path: the one place that tells them apart.

The order is that of the questions: what needs nothing but tensorstore comes
first, so that a bucket of T5X's needs neither TensorFlow nor gcsfs.
"""

import enum
import importlib.resources
import posixpath

from etils import epath

from moe_lite.checkpoints import buckets, exported, runs
from moe_lite.checkpoints.hugging_face import hub, model
from moe_lite.checkpoints.peft.folder import is_peft
from moe_lite.checkpoints.t5x import native

# Of a base of ours.
WEIGHTS = 'model.safetensors'


class Kind(enum.Enum):
  """What lies at a path, in words."""

  T5X = 'T5X checkpoint'
  EXPORTED = 'exported adapters'
  PEFT = "adapters of PEFT's"
  HUGGING_FACE = "model of Hugging Face's"
  BASE = 'base'
  RUN = 'run'
  FILE = 'file of a base'


def kind(path: str) -> Kind | None:
  """What lies at a path, as `local` gives it; None for nothing known."""
  if native.is_checkpoint(path):
    return Kind.T5X
  if exported.is_portable(path):
    return Kind.EXPORTED
  if is_peft(path):
    return Kind.PEFT
  if model.is_checkpoint(path):
    return Kind.HUGGING_FACE
  if buckets.exists(posixpath.join(path, WEIGHTS)):
    return Kind.BASE
  if runs.is_run_folder(path):
    return Kind.RUN
  return Kind.FILE if buckets.exists(path) else None


def local(path: str) -> str:
  """Where it lies: a hub's model is downloaded, a shipped base has a folder."""
  if hub.is_address(path):
    return hub.download(path)
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
