"""Public names of a folder, loaded when they are first asked for.

A folder's `__init__` names what it offers. Where that would load TensorFlow, or
much else, the names are bound lazily, so that `import moe_lite` stays quick.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
  """Returns the `__getattr__` of a package.

  Args:
    package: its `__name__`.
    names: each public name to the module of the package that defines it.
  """

  def get(name: str) -> Any:
    if name not in names:
      raise AttributeError(f'module {package!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{package}.{names[name]}'), name)

  return get
