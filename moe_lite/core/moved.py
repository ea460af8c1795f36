"""Finds modules by the names that they had before the package got its folders.

A module that the gin files, tasks or commands of users name can still be
imported under its old name. All other modules were internal. Importing one of
them under its old name raises an error that says the new name.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from moe_lite.core.errors import UserError

# Maps each folder to the modules that moved into it and kept their names.
_INTO = {
  'moe_lite.core': (
    'errors hub matmuls memory parameters partitioning progress quantization '
    'types'
  ),
  'moe_lite.data': 'batches',
  'moe_lite.evaluation': 'comparison plots results routing_usage',
  'moe_lite.inference': (
    'generation scoring text_model token_routing vocabulary'
  ),
  'moe_lite.models': 'decoding layout losses router_losses',
  'moe_lite.process': 'cli distributed endings gin_macros gin_paths interrupts',
  'moe_lite.training': (
    'meter next_command optimizers plan routing_metrics run_folder train_step'
  ),
}
_RENAMED = {
  'moe_lite.adapters.base': 'moe_lite.adapters.adapter',
  'moe_lite.checkpoints.base': 'moe_lite.checkpoints.bases',
  'moe_lite.checkpoints.folders': 'moe_lite.core.files',
  'moe_lite.checkpoints.hugging_face_config': (
    'moe_lite.checkpoints.hugging_face.config'
  ),
  'moe_lite.checkpoints.hugging_face_files': (
    'moe_lite.checkpoints.hugging_face.weights'
  ),
  'moe_lite.checkpoints.hugging_face_hub': (
    'moe_lite.checkpoints.hugging_face.hub'
  ),
  'moe_lite.checkpoints.hugging_face_names': (
    'moe_lite.checkpoints.hugging_face.names'
  ),
  'moe_lite.checkpoints.own': 'moe_lite.checkpoints.runs',
  'moe_lite.checkpoints.peft_config': 'moe_lite.checkpoints.peft.config',
  'moe_lite.checkpoints.peft_leaves': 'moe_lite.checkpoints.peft.leaves',
  'moe_lite.checkpoints.placing': 'moe_lite.checkpoints.uploading',
  'moe_lite.checkpoints.portable': 'moe_lite.checkpoints.exported',
  'moe_lite.checkpoints.stored': 'moe_lite.checkpoints.lazy_arrays',
  'moe_lite.checkpoints.t5x_orbax': 'moe_lite.checkpoints.t5x.orbax',
  'moe_lite.checkpoints.tensors': 'moe_lite.checkpoints.safetensors_files',
  'moe_lite.collapse': 'moe_lite.checkpoints.fixed_routers',
  'moe_lite.conversions': 'moe_lite.convert',
  'moe_lite.conversions.adapters': 'moe_lite.convert.adapter_verbs',
  'moe_lite.conversions.arguments': 'moe_lite.process.arguments',
  'moe_lite.conversions.bases': 'moe_lite.convert.base_verbs',
  'moe_lite.conversions.collapse': 'moe_lite.convert.collapse',
  'moe_lite.conversions.peft': 'moe_lite.convert.peft_verbs',
  'moe_lite.integrations.torch_adapters': 'moe_lite.checkpoints.torch_adapters',
  'moe_lite.loaded': 'moe_lite.inference.trained',
  'moe_lite.networks': 'moe_lite.t5.description',
  'moe_lite.partial_results': 'moe_lite.evaluation.results_folder',
  'moe_lite.preflight.sweep': 'moe_lite.preflight.cheapest',
  'moe_lite.preflight.table': 'moe_lite.preflight.slices',
  'moe_lite.pretrained': 'moe_lite.inference.loading',
  'moe_lite.routing.base': 'moe_lite.routing.router',
  'moe_lite.routing_page': 'moe_lite.routing_report',
  'moe_lite.routing_page.experts': 'moe_lite.routing_report.experts',
  'moe_lite.routing_page.figures': 'moe_lite.routing_report.figures',
  'moe_lite.routing_page.numbers': 'moe_lite.routing_report.numbers',
  'moe_lite.routing_page.page': 'moe_lite.routing_report.page',
  'moe_lite.routing_page.reporting': 'moe_lite.routing_report.writing',
  'moe_lite.routing_page.sentences': 'moe_lite.routing_report.sentences',
  'moe_lite.shapes': 'moe_lite.inference.padding',
  'moe_lite.sweeps': 'moe_lite.sweep',
  'moe_lite.sweeps.checking': 'moe_lite.sweep.checking',
  'moe_lite.sweeps.grid': 'moe_lite.sweep.grid',
  'moe_lite.sweeps.outcome': 'moe_lite.sweep.outcome',
  'moe_lite.sweeps.plan': 'moe_lite.sweep.expansion',
  'moe_lite.sweeps.record': 'moe_lite.sweep.record',
  'moe_lite.sweeps.running': 'moe_lite.sweep.running',
  'moe_lite.sweeps.sweeping': 'moe_lite.sweep.sweeping',
  'moe_lite.sweeps.tables': 'moe_lite.sweep.tables',
  'moe_lite.t5.contexts': 'moe_lite.t5.positions',
  'tasks.catalog': 'moe_lite.data.catalog',
  **{
    f'tasks.mini_{name}': f'tasks.mini.{name}'
    for name in ('prompts', 'text', 'vocabulary', 'world')
  },
  **{
    f'tasks.p3_{name}': f'tasks.p3.{name}'
    for name in (
      *('fetching', 'folder', 'hub', 'parquet', 'published'),
      *('settings', 'source', 'table', 'vocabulary'),
    )
  },
}
# Maps each old name to the new one.
MOVED = {
  **_RENAMED,
  **{
    f'moe_lite.{name}': f'{folder}.{name}'
    for folder, names in _INTO.items()
    for name in names.split()
  },
}
# The modules that gin files, tasks, adapters and command lines of users name.
PUBLIC = frozenset(
  {
    'moe_lite.decoding',
    'moe_lite.errors',
    'moe_lite.gin_paths',
    'moe_lite.optimizers',
    'moe_lite.partitioning',
    'moe_lite.preflight.table',
    'moe_lite.sweeps',
    'moe_lite.types',
    'tasks.catalog',
    'tasks.mini_vocabulary',
    'tasks.p3_settings',
  }
)


class MovedError(UserError, ImportError):
  """A module was imported under a name that it no longer has."""


def install() -> None:
  """Makes Python look for moved modules before it looks into folders."""
  if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
  """Finds public modules by their old names, and says where others moved."""

  def find_spec(
    self,
    fullname: str,
    path: Sequence[str] | None = None,
    target: ModuleType | None = None,
  ) -> importlib.machinery.ModuleSpec | None:
    new = MOVED.get(fullname)
    if new is None:
      return None
    if fullname not in PUBLIC:
      folder, _, name = new.rpartition('.')
      raise MovedError(
        f'{fullname} is now {new}. Write `from {folder} import {name}`.'
      )
    known = importlib.util.find_spec(new)
    assert known is not None
    spec = importlib.machinery.ModuleSpec(
      fullname, _Alias(known), origin=known.origin
    )
    spec.has_location = True  # It makes `python -m` set __file__.
    return spec


class _Alias(importlib.abc.Loader):
  """Loads a module for somebody who asks for it by its old name."""

  def __init__(self, known: importlib.machinery.ModuleSpec):
    """Creates the loader.

    Args:
      known: the specification of the module under its new name.
    """
    self._known = known

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
    return importlib.import_module(self._known.name)

  def exec_module(self, module: ModuleType) -> None:
    # Python has set the specification of the old name.
    module.__spec__ = self._known

  def get_code(self, fullname: str) -> CodeType | None:
    """Returns the code that `python -m` runs under the old name."""
    loader = self._known.loader
    assert isinstance(loader, importlib.abc.InspectLoader)
    return loader.get_code(self._known.name)
