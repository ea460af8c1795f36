"""A small grid, and sweeping it with stand-ins for training and evaluation.

Run as a program, it sweeps into a folder, without checking any configuration.
"""

import dataclasses
import pathlib
import sys

from moe_lite.sweep import Grid, sweeping
from moe_lite.sweep.checking import Checked
from moe_lite.sweep.expansion import expand
from moe_lite.sweep.locking import locked
from moe_lite.sweep.running import Processes

STUB = pathlib.Path(__file__).parent / 'stub.py'
PROCESSES = Processes(python=(sys.executable, '-S', str(STUB)), period=0.01)
# A grid as a user writes one.
MINE = """
from __gin__ import dynamic_registration
include 'suites/mini.gin'
AXES = {'method': {'IA3': 'methods/ia3.gin', 'LoRA': 'methods/lora.gin'}}
"""
COUNTS = {'frozen base': (0, 1000), 'IA3': (10, 1000), 'MoV': (100, 1000)}
STEPS = 4


def grid(**changes):
  """Two methods, two learning rates, two seeds, on the mini suite."""
  return Grid(
    **{
      'model': 'models/t5_1_1_mini.gin',
      'axes': {'method': {'IA3': 'methods/ia3.gin', 'MoV': 'methods/mov.gin'}},
      'train': ['data/mini.gin', 'runs/finetune.gin', {'TRAIN_STEPS': STEPS}],
      'evaluate': ['data/mini_eval.gin', 'runs/eval.gin'],
      'validate': [
        'data/mini_eval.gin',
        'runs/eval.gin',
        "MIXTURE_OR_TASK_NAME = 'mini_train_score_eval'",
      ],
      'search': {'LEARNING_RATE': [0.1, 0.3]},
      'seeds': [0, 1],
      **changes,
    }
  )


def sweep(root, jobs=1, **changes):
  """Sweeps with the stub; whether nothing failed."""
  plan = expand(grid(**changes), str(root))
  names = [s.name for settings in plan.settings.values() for s in settings]
  steps = dict.fromkeys(names, STEPS)
  processes = dataclasses.replace(PROCESSES, at_once=jobs)
  with locked(str(root), processes.period) as lock:
    failed = sweeping.run(plan, Checked({}, steps, COUNTS), processes, lock)
    return sweeping.report(plan, COUNTS, failed)


if __name__ == '__main__':
  sweep(sys.argv[1])
