"""What `--help` of a command prints.

Neither the command nor JAX nor TensorFlow is imported for it. Docstrings are
parsed from the sources, and gin files are parsed and not run.
"""

import ast
import importlib.util
import pathlib
import re
import textwrap
from collections.abc import Sequence

from moe_lite.process import gin_paths, macro_defaults, macros, shell
from moe_lite.process.commands import BY_MODULE
from moe_lite.process.macro_defaults import REQUIRED, Default
from moe_lite.process.macro_kinds import Macro

_WIDTH = 80
# Longer values are not shown whole.
_LONGEST_VALUE = 50
# So many other values of a macro are shown.
_MOST_VALUES = 4
# The folders of which a command has one to itself.
_OWN = ('runs', 'suites', 't5x')
_LINK = re.compile(r'\[([^]]+)\]\([^)]*\)')


def is_asked(argv: Sequence[str]) -> bool:
  """Whether a command line asks for help."""
  return any(word in ('-h', '--help') for word in argv[1:])


def of(module: str) -> str:
  """Returns the help of a command.

  Args:
    module: the module whose docstring describes it.
  """
  command = BY_MODULE.get(module)
  reads = command.reads if command else ()
  parts = [_docstring(module)]
  if any(pattern.startswith('models/') for pattern in reads):
    parts.append(_docstring('moe_lite.process.cli'))
  if reads:
    files = macro_defaults.find(reads)
    parts += [_files(files), _macros(files)]
  return '\n\n'.join(parts)


def _docstring(module: str) -> str:
  """The docstring of a module that is not imported."""
  spec = importlib.util.find_spec(module)
  assert spec is not None and spec.origin is not None, module
  source = pathlib.Path(spec.origin).read_text(encoding='utf-8')
  return (ast.get_docstring(ast.parse(source)) or '').strip()


def _files(files: Sequence[str]) -> str:
  """The files, each with the first sentence of its header."""
  width = max(map(len, files))
  lines = [f'Gin files, in {gin_paths.folder()}:']
  for file in files:
    said = textwrap.shorten(
      gin_paths.headline(file), _WIDTH - width - 4, placeholder=' ...'
    )
    lines.append(f'  {file:<{width}}  {said}')
  return '\n'.join(lines)


def _macros(files: Sequence[str]) -> str:
  """The macros of files, under the folder of the first file that has them.

  The macros of the command's own folder come first.
  """
  folders = dict.fromkeys(map(_folder, files))
  own = [x for x in _OWN if x in folders]
  of_folder: dict[str, list[str]] = {x: [] for x in (*own, *folders)}
  for name, values in macro_defaults.read(files).items():
    lines = of_folder.setdefault(_folder(values[0].files[0]), [])
    lines += ['', *_macro(macros.BY_NAME[name], values)]
  parts = [
    'Macros, each as a flag with its default. What is required must be given\n'
    'by another file or by the flag. `...` stands for a long value.'
  ]
  for folder, lines in of_folder.items():
    if lines:
      parts += ['', f'Macros of {folder}/:', *lines]
  return '\n'.join(parts)


def _folder(file: str) -> str:
  return file.partition('/')[0]


def _macro(macro: Macro, values: Sequence[Default]) -> list[str]:
  first, *others = values
  is_shown = first.value != REQUIRED and len(first.value) <= _LONGEST_VALUE
  flag = shell.quote(f'--gin.{macro.name}={first.value if is_shown else "..."}')
  required = '  (required)' if first.value == REQUIRED else ''
  meaning = _LINK.sub(r'\1', macro.meaning)
  texts = [
    f'{meaning[0].upper()}{meaning[1:]}. It must be {macro.kind.allowed}.'
  ]
  if others:
    shown = [_value(one) for one in others[:_MOST_VALUES]]
    more = ['others in other files'] if len(others) > _MOST_VALUES else []
    texts.append(f'Other files: {"; ".join([*shown, *more])}.')
  indent = ' ' * 6
  wrapped = [
    line
    for text in texts
    for line in textwrap.wrap(
      text,
      _WIDTH,
      initial_indent=indent,
      subsequent_indent=indent,
      break_long_words=False,
      break_on_hyphens=False,
    )
  ]
  return [f'  {flag}{required}', *wrapped]


def _value(one: Default) -> str:
  value = textwrap.shorten(one.value, _LONGEST_VALUE, placeholder=' ...')
  return f'{value} in {", ".join(one.files)}'
