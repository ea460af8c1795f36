"""Finds the gin files of the package, and the macros that they assign."""

import pathlib
import re

_ASSIGNMENT = re.compile(r'^([A-Z][A-Z0-9_]*)\s*=', re.MULTILINE)


def folder() -> pathlib.Path:
  """Returns the gin folder of the checkout, or its copy in the wheel."""
  package = pathlib.Path(__file__).parents[1]
  checkout = package.parent / 'gin'
  # The folder `gin` beside an installed package belongs to gin-config, so the
  # name alone does not suffice.
  if (checkout / 'runs').is_dir():
    return checkout
  return package / 'gin_files'


def macros(path: pathlib.Path) -> set[str]:
  """Returns the names of the macros that a file assigns.

  Files that it includes do not count.
  """
  return set(_ASSIGNMENT.findall(path.read_text(encoding='utf-8')))


def providers(macro: str) -> list[str]:
  """Returns the files of the gin folder that give a macro a value.

  Paths begin in the gin folder, as in 'data/mini.gin'.
  """
  required = re.compile(rf'^{re.escape(macro)}\s*=\s*%gin\.REQUIRED', re.M)
  return [
    path.relative_to(folder()).as_posix()
    for path in sorted(folder().rglob('*.gin'))
    if macro in macros(path)
    and not required.search(path.read_text(encoding='utf-8'))
  ]


if __name__ == '__main__':
  print(folder())
