"""Imports single modules of other projects, without what they do not need.

The modules that compute a formula import trainers, data sets and loggers too.
Those are replaced by empty stand-ins, and `__init__.py` of the projects are not
run.
"""

import importlib
import importlib.abc
import importlib.machinery
import pathlib
import sys
import types
from collections.abc import Iterable


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Finds an empty module for each name, and for what is below it.

  Whatever is asked of such a module is a new empty class, which can be called,
  derived from, or named in an annotation.
  """

  def __init__(self, names: Iterable[str]):
    self.names = tuple(names)

  def find_spec(self, fullname, path=None, target=None):
    del path, target
    for name in self.names:
      if fullname == name or fullname.startswith(f'{name}.'):
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
    return None

  def create_module(self, spec):
    module = types.ModuleType(spec.name)

    def attribute(name: str):
      if name.startswith('__'):
        raise AttributeError(name)
      setattr(module, name, type(name, (), {}))
      return getattr(module, name)

    module.__dict__['__getattr__'] = attribute
    return module

  def exec_module(self, module):
    del module


def forget(first: str):
  """Drops what was imported under a first name."""
  for name in list(sys.modules):
    if name == first or name.startswith(f'{first}.'):
      del sys.modules[name]


def load(
  root: pathlib.Path,
  module: str,
  bare: Iterable[str] = (),
  absent: Iterable[str] = (),
) -> types.ModuleType:
  """Imports one module of another project.

  Args:
    root: the folder from which the module's name is counted.
    module: its dotted name. Its parents are packages whose `__init__.py` are
      not run.
    bare: further packages whose `__init__.py` are not run.
    absent: names of modules that become empty stand-ins.

  Returns:
    The module. What an earlier call imported under the same first name is
    forgotten, as two projects call themselves `src`.
  """
  forget(module.partition('.')[0])
  parts = module.split('.')
  parents = ['.'.join(parts[:n]) for n in range(1, len(parts))]
  for name in (*parents, *bare):
    package = types.ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split('.')))]
    sys.modules[name] = package
  finder = _StandIns(absent)
  sys.meta_path.insert(0, finder)
  try:
    return importlib.import_module(module)
  finally:
    sys.meta_path.remove(finder)


def also(module: str) -> types.ModuleType:
  """Imports another module of the project that was loaded last."""
  return importlib.import_module(module)
