"""The table of macros: what each may be, and what it means.

The check of a command's macros, the table in gin/README.md and the help of the
commands come from here.
"""

from moe_lite.process.macro_kinds import Macro
from moe_lite.process.macros_of_models import MODELS
from moe_lite.process.macros_of_results import RESULTS
from moe_lite.process.macros_of_training import TRAINING

TABLE: tuple[Macro, ...] = (*MODELS, *TRAINING, *RESULTS)
BY_NAME = {macro.name: macro for macro in TABLE}


def markdown() -> str:
  """Returns the table of gin/README.md."""
  lines = ['| macro | of | may be | meaning |', '|---|---|---|---|']
  for macro in TABLE:
    allowed = macro.kind.allowed.replace('|', r'\|')
    lines.append(
      f'| `{macro.name}` | {macro.of} | {allowed} | {macro.meaning} |'
    )
  return '\n'.join(lines) + '\n'
