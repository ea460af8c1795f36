"""Compares the variants of a sweep seed by seed.

  python -m tests.benchmarks.paired SWEEP VARIANT [VARIANT ...]

SWEEP is the folder of a sweep. Each VARIANT is compared with all others: the
mean of the differences by seed, and a 95 % interval of it by Student's t.
"""

import json
import pathlib
import sys

from moe_lite.core import tables
from moe_lite.sweep.intervals import interval


def main(folder: str, *named: str) -> None:
  said = json.loads((pathlib.Path(folder) / 'sweep.json').read_text())
  rows = {row['variant']: row for row in said['rows'] if row['is_trained']}
  averages = {
    name: dict(zip(row['seeds'], row['average']['values'], strict=True))
    for name, row in rows.items()
  }
  print(
    tables.table(
      ('variant', 'rate', 'seeds', 'average'),
      [
        (
          name,
          str(row['choice'].get('LEARNING_RATE', '')),
          str(len(row['seeds'])),
          _told(*interval(row['average']['values'])),
        )
        for name, row in rows.items()
      ],
    )
  )
  differences = []
  for first in named:
    for second in averages:
      seeds = sorted(averages[first].keys() & averages[second].keys())
      if second == first or not seeds:
        continue
      of_seeds = [averages[second][x] - averages[first][x] for x in seeds]
      each = ', '.join(f'{x:+.1f}' for x in of_seeds)
      told = _told(*interval(of_seeds), sign='+')
      differences.append((f'{second} - {first}', told, each))
  header = ('difference', 'mean', 'by seed')
  print(tables.table(header, differences))


def _told(mean: float, half: float | None, sign: str = '') -> str:
  return f'{mean:{sign}.2f}' + ('' if half is None else f' ± {half:.2f}')


if __name__ == '__main__':
  main(*sys.argv[1:])
