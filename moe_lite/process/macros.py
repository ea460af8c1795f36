"""The table of macros: what each may be, and what it means.

The check of a command's macros, the table in gin/README.md and the help of the
commands come from here.
"""

from collections.abc import Sequence

from moe_lite.process import macro_defaults
from moe_lite.process.commands import COMPOSED
from moe_lite.process.macro_defaults import REQUIRED, Default
from moe_lite.process.macro_kinds import Macro
from moe_lite.process.macros_of_models import MODELS
from moe_lite.process.macros_of_results import RESULTS
from moe_lite.process.macros_of_training import TRAINING

TABLE: tuple[Macro, ...] = (*MODELS, *TRAINING, *RESULTS)
# Where defaults are read: a macro's is in the first group that has it.
_FILES = (
  (*COMPOSED, 'runs/finetune.gin', 'runs/*.gin'),
  ('suites/*.gin', 'ablations/*.gin', 't5x/*.gin'),
)
_MOST_VALUES = 4
BY_NAME = {macro.name: macro for macro in TABLE}


def markdown() -> str:
  """Returns the table of gin/README.md."""
  files = [macro_defaults.read(macro_defaults.find(x)) for x in _FILES]
  lines = [
    '| macro | meaning | default | may be | of |',
    '|---|---|---|---|---|',
  ]
  for macro in TABLE:
    values = next(x[macro.name] for x in files if macro.name in x)
    cells = [
      f'`{macro.name}`',
      macro.meaning,
      _default(values),
      # A star would begin emphasis.
      macro.kind.allowed.replace('*', r'\*'),
      macro.of,
    ]
    lines.append('| ' + ' | '.join(x.replace('|', r'\|') for x in cells) + ' |')
  return '\n'.join(lines) + '\n'


def _default(values: Sequence[Default]) -> str:
  """The value of the first file, and those of a few others."""
  if len(values) > _MOST_VALUES or any(len(x.value) > 50 for x in values):
    return 'see the files'
  found = []
  for one in values:
    value = one.value if one.value == REQUIRED else f'`{one.value}`'
    names = [x.rpartition('/')[2].removesuffix('.gin') for x in one.files]
    # The value of most files needs no list of them.
    is_usual = not found and (len(values) == 1 or len(names) > 2)
    found.append(value if is_usual else f'{value} in {", ".join(names)}')
  return ', '.join(found)
