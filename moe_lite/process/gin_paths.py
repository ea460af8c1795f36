"""Finds the gin files of the package, and the macros that they assign."""

import pathlib
import re
from collections.abc import Sequence

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


def headline(file: str) -> str:
  """Returns the first line of a file's header, without its '#'.

  Args:
    file: its path from the gin folder.
  """
  with (folder() / file).open(encoding='utf-8') as opened:
    return opened.readline().lstrip('# ').strip()


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


def eval_data(names: Sequence[str]) -> str:
  """Returns the data file to evaluate on after training with other files.

  It is data/t0_eval.gin for data/t0_train.gin, and data/mini_eval.gin for
  data/mini.gin.

  Args:
    names: the gin files of the training.

  Returns:
    'data/...' if none of them is a data file that has a counterpart.
  """
  counterparts = [f for f in map(_counterpart, names) if f]
  return counterparts[-1] if counterparts else 'data/...'


def _counterpart(name: str) -> str | None:
  path = pathlib.PurePath(name)
  if path.parent.name != 'data':
    return None
  stem = path.stem.removesuffix('_train').removesuffix('_pretrain')
  counterpart = f'data/{stem}_eval.gin'
  return counterpart if (folder() / counterpart).exists() else None


if __name__ == '__main__':
  print(folder())
