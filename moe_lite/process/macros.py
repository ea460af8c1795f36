"""The table of macros: what each may be, and what it means.

The check of a command's macros, the table in gin/README.md and the help of the
commands come from here.
"""

import re

from moe_lite.process import macro_defaults
from moe_lite.process.macro_kinds import Macro
from moe_lite.process.macros_of_models import MODELS
from moe_lite.process.macros_of_results import RESULTS
from moe_lite.process.macros_of_training import TRAINING

TABLE: tuple[Macro, ...] = (*MODELS, *TRAINING, *RESULTS)
BY_NAME = {macro.name: macro for macro in TABLE}


def markdown() -> str:
  """Returns the table of gin/README.md."""
  lines = [
    '| macro | meaning | default | may be | of |',
    '|---|---|---|---|---|',
  ]
  for macro in TABLE:
    default = macro_defaults.markdown(macro.name)
    # A star would begin emphasis.
    allowed = re.sub(r'([|*])', r'\\\1', macro.kind.allowed)
    cells = (f'`{macro.name}`', macro.meaning, default, allowed, macro.of)
    lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines) + '\n'


def help_text() -> str:
  """Returns what the help of a command says of macros."""
  width = max(len(macro.name) for macro in TABLE)
  lines = [
    f'  --gin.{macro.name:<{width}}  {macro.kind.allowed}' for macro in TABLE
  ]
  return '\n'.join(
    ['Macros of the gin files; gin/README.md says what they mean:', *lines]
  )
