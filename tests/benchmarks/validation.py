"""What validation costs a run: time and memory, in pairs.

  python -m tests.benchmarks.validation [--pairs=4] [-- FLAGS]

trains `recipes/mini_mov_10.gin` with and without EVAL_MIXTURE, each time in a
process of its own and the second of a pair first in every other pair. FLAGS are
given to both. It prints one line of JSON: the seconds of a whole run, of a
validation, and the most memory that a process held. Nothing is asserted.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import jax
from absl import app, flags

PAIRS = flags.DEFINE_integer('pairs', 4, 'How many pairs of runs.', 1)
STEPS, PERIOD, EXAMPLES = 200, 50, 20
# Validations before the first step and after every period.
VALIDATIONS = 1 + STEPS // PERIOD
WITH = (
  "--gin.EVAL_MIXTURE='mini_train_one_score_eval'",
  f'--gin.EVAL_PERIOD={PERIOD}',
  f'--gin.EVAL_EXAMPLES={EXAMPLES}',
)


def train(folder: pathlib.Path, more: tuple[str, ...]) -> tuple[float, float]:
  """Seconds of a training, and the most MiB that it held."""
  words = [
    *(sys.executable, '-m', 'moe_lite.train'),
    '--gin_file=recipes/mini_mov_10.gin',
    f'--gin.MODEL_DIR={str(folder)!r}',
    *(f'--gin.TRAIN_STEPS={STEPS}', '--gin.LOG_PERIOD=50'),
    *more,
  ]
  start = time.monotonic()
  with (folder.parent / f'{folder.name}.log').open('w') as log:
    process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
  if status:
    sys.exit(log.name + ': ' + pathlib.Path(log.name).read_text()[-2000:])
  return time.monotonic() - start, usage.ru_maxrss / 1024


def main(argv):
  more = tuple(argv[1:])
  pairs = []
  with tempfile.TemporaryDirectory() as root:
    folder = pathlib.Path(root)
    train(folder / 'warm', (*WITH, *more))  # Compiles for all that follow.
    for i in range(PAIRS.value):
      kinds = {'with': (*WITH, *more), 'without': more}
      names = sorted(kinds, reverse=bool(i % 2))
      pair = {x: train(folder / f'{x}_{i}', kinds[x]) for x in names}
      pairs.append(pair)
  column = lambda kind, j: [pair[kind][j] for pair in pairs]
  median = statistics.median
  apart = [pair['with'][0] - pair['without'][0] for pair in pairs]
  print(
    json.dumps(
      {
        'pairs': len(pairs),
        'steps': STEPS,
        'validations': VALIDATIONS,
        'seconds_with': round(median(column('with', 0)), 2),
        'seconds_without': round(median(column('without', 0)), 2),
        'seconds_a_validation': round(median(apart) / VALIDATIONS, 2),
        'seconds_apart': [round(x, 2) for x in apart],
        'mib_with': round(median(column('with', 1))),
        'mib_without': round(median(column('without', 1))),
        'jax': jax.__version__,
        'load_average': os.getloadavg()[0],
      }
    )
  )


if __name__ == '__main__':
  app.run(main)
