"""The commands of the package: what each is for, and the gin files it reads."""

import dataclasses

# Patterns of what a run is composed of before its run file, in the order of
# flags. Of files that have the same macro, the most usual one comes first.
COMPOSED = (
  *('models/t5_*.gin', 'models/*.gin', 'methods/*.gin'),
  *('routers/soft.gin', 'routers/*.gin', 'data/*.gin', 'vocabularies/*.gin'),
)


@dataclasses.dataclass(frozen=True)
class Command:
  """A command.

  Attributes:
    name: `python -m NAME` runs it.
    purpose: what it is for, in a line.
    module: the module whose docstring describes it.
    reads: patterns of the gin files that give its macros, in the order in which
      files are named; none if it has no macros of its own.
  """

  name: str
  purpose: str
  module: str
  reads: tuple[str, ...] = ()


# In the order in which a new user needs them.
COMMANDS = (
  Command(
    'moe_lite.train',
    'train adapters on a frozen T5, or all of a T5',
    'moe_lite.train',
    (*COMPOSED, 'runs/finetune.gin', 'runs/few_shot.gin', 'runs/pretrain*'),
  ),
  Command(
    'moe_lite.eval',
    'measure a run on tasks, and write its table',
    'moe_lite.eval',
    (*COMPOSED, 'runs/eval.gin'),
  ),
  Command(
    'moe_lite.infer',
    'write what a run answers to a task or a file',
    'moe_lite.infer',
    (*COMPOSED, 'runs/infer.gin'),
  ),
  Command(
    'moe_lite.report',
    'lay evaluations side by side',
    'moe_lite.evaluation.report',
  ),
  Command(
    'moe_lite.routing_report',
    'show what the routers of a run do, on a page',
    'moe_lite.routing_report.command',
  ),
  Command(
    'moe_lite.convert',
    'export, import and inspect adapters and bases',
    'moe_lite.convert.command',
  ),
  Command(
    'moe_lite.library',
    'keep experts, and make models of them',
    'moe_lite.library.command',
  ),
  Command(
    'moe_lite.sweep',
    'run a grid of settings and seeds, into one table',
    'moe_lite.sweep.command',
    ('suites/*.gin', 'ablations/*.gin'),
  ),
  Command(
    'moe_lite.preflight',
    'say whether a run fits a slice of TPUs, without one',
    'moe_lite.preflight.command',
  ),
  Command(
    'moe_lite.t5x',
    "train, evaluate or infer in T5X's loop",
    'moe_lite.integrations.t5x_command',
    (*COMPOSED, 't5x/model.gin', 't5x/*.gin'),
  ),
  Command(
    'tasks.fetch_p3',
    'fetch P3 from the Hugging Face Hub',
    'tasks.fetch_p3',
  ),
  Command(
    'tasks.cache',
    'tokenize tasks once, for runs that read them often',
    'tasks.cache',
  ),
)
BY_MODULE = {command.module: command for command in COMMANDS}
