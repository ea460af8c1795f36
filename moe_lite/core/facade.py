"""Loads the public names of a folder when somebody first asks for them.

The `__init__` of a folder lists the names that the folder offers. Some of them
come from modules that import TensorFlow, or much else. Such a folder loads its
names lazily, so that `import moe_lite` stays quick.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
  """Returns the function that a package assigns to its `__getattr__`.

  Args:
    package: the package's `__name__`.
    names: maps each public name to the module of the package that defines it.
  """

  def get(name: str) -> Any:
    if name not in names:
      raise AttributeError(f'module {package!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{package}.{names[name]}'), name)

  return get
