"""Draws the comparison of methods on the mini suite from its numbers.

  python -m tests.benchmarks.methods_picture docs/methods.png

It is the `sweep.png` of that comparison, from gin/recipes/mini.csv and
mini_runs.csv.
"""

import csv
import statistics
from collections import defaultdict

from absl import app

from moe_lite.sweep import plots
from moe_lite.sweep.intervals import estimate
from moe_lite.sweep.rows import Row
from tests.paths import ROOT

# Of the four held-out data sets: three of three choices, and one of two.
CHANCE = statistics.mean([100 / 3] * 3 + [50])


def read(name: str) -> list[dict[str, str]]:
  with (ROOT / 'gin/recipes' / name).open() as file:
    return list(csv.DictReader(file))


def rows() -> list[Row]:
  """A row for each variant, as the sweep had it."""
  averages = defaultdict(list)
  for run in read('mini_runs.csv'):
    averages[run['variant']].append(float(run['average']))
  found = []
  for line in read('mini.csv'):
    trained, base = (
      int(line[f'{name}_parameters']) for name in ('trainable', 'base')
    )
    values = averages[line['variant']]
    found.append(
      Row(
        variant=line['variant'],
        is_trained=trained > 0,
        trainable_parameters=trained,
        base_parameters=base,
        share=100 * trained / base,
        wanted=len(values),
        seeds=range(len(values)),
        average=estimate(values),
        chance=CHANCE,
      )
    )
  return found


def main(argv):
  plots.intervals(rows(), argv[1], 'methods')


if __name__ == '__main__':
  app.run(main)
