"""Where the gin files are, and what they define."""

import pathlib
import re

_ASSIGNMENT = re.compile(r'^([A-Z][A-Z0-9_]*)\s*=', re.MULTILINE)


def folder() -> pathlib.Path:
  """The gin folder: of the checkout, or its copy in the installed wheel."""
  package = pathlib.Path(__file__).parents[1]
  checkout = package.parent / 'gin'
  # Not any folder `gin`: that beside an installed package is gin-config.
  if (checkout / 'runs').is_dir():
    return checkout
  return package / 'gin_files'


def macros(path: pathlib.Path) -> set[str]:
  """Names of the macros that a file assigns, without what it includes."""
  return set(_ASSIGNMENT.findall(path.read_text(encoding='utf-8')))


def providers(macro: str) -> list[str]:
  """Files of the gin folder that give the macro a value."""
  required = re.compile(rf'^{re.escape(macro)}\s*=\s*%gin\.REQUIRED', re.M)
  return [
    path.relative_to(folder()).as_posix()
    for path in sorted(folder().rglob('*.gin'))
    if macro in macros(path)
    and not required.search(path.read_text(encoding='utf-8'))
  ]


if __name__ == '__main__':
  print(folder())
