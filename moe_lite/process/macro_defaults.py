"""The defaults of macros, as the gin files give them.

A macro has no default of its own: a gin file of a run assigns it, and files may
differ. Recipes and grids set macros for one purpose, so what they assign counts
only for macros that no other file has.
"""

import collections
import functools
import pathlib
import re

from moe_lite.process import gin_paths

_ASSIGNMENT = re.compile(r'^([A-Z][A-Z0-9_]*)\s*=\s*([^#\n]*)', re.MULTILINE)
_FOR_ONE_PURPOSE = ('recipes', 'ablations')
_REQUIRED = '%gin.REQUIRED'
# A macro with more values than this has no default worth the name.
_MOST = 4


def markdown(macro: str) -> str:
  """Returns the default of a macro in Markdown, for a cell of a table.

  Args:
    macro: the name of the macro.

  Returns:
    '`3`' if all gin files agree, '`30` in mov; `10` in molora' if they do not,
    'required' if the user must give a value, or 'by file'.
  """
  files = collections.defaultdict(list)
  for path, value in _assigned().get(macro, {}).items():
    files[value].append(path.stem)
  # Brackets that the line does not close: the value is too long for a cell.
  if not 1 <= len(files) <= _MOST or any(v[-1] in '[{(' for v in files):
    return 'by file'
  (usual, its), *others = sorted(files.items(), key=lambda x: -len(x[1]))
  if others and len(its) == len(others[0][1]):
    others = [(usual, its), *others]
    shown = []
  else:
    shown = [_shown(usual)]
  for value, stems in others:
    shown.append(f'{_shown(value)} in {", ".join(dict.fromkeys(stems))}')
  return '; '.join(shown)


def _shown(value: str) -> str:
  return 'required' if value == _REQUIRED else f'`{value}`'


@functools.cache
def _assigned() -> dict[str, dict[pathlib.Path, str]]:
  """Returns what the gin files assign to each macro, by their paths."""
  usual, other = {}, {}
  for path in sorted(gin_paths.folder().rglob('*.gin')):
    kind = path.relative_to(gin_paths.folder()).parts[0]
    found = other if kind in _FOR_ONE_PURPOSE else usual
    for macro, value in _ASSIGNMENT.findall(path.read_text(encoding='utf-8')):
      found.setdefault(macro, {})[path] = value.strip()
  return {**other, **usual}
