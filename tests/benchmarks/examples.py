"""Keeps which examples every run of a sweep answered correctly, in one file.

  python -m tests.benchmarks.examples SWEEP FILE.npz

SWEEP is the folder of a sweep. The file has three arrays: `runs`, the variant
and the seed of each run, which the frozen base has not; `tasks`, the names of
the tasks; and `correct`, a bit for each example, packed along the last axis:
[runs, tasks, examples / 8]. All tasks must have as many examples. `read` gives
them back.
"""

import json
import pathlib
import sys

import numpy as np

_PREDICTIONS = 'eval/predictions.jsonl'


def read(path: str) -> tuple[list[tuple[str, str]], list[str], np.ndarray]:
  """Returns runs, tasks, and what is correct: [runs, tasks, examples]."""
  file = np.load(path)
  runs = [(str(name), str(seed)) for name, seed in file['runs']]
  correct = np.unpackbits(file['correct'], axis=-1, count=int(file['examples']))
  return runs, [str(x) for x in file['tasks']], correct.astype(bool)


def main(folder: str, to: str) -> None:
  runs, rows, tasks = [], [], None
  for path in sorted(pathlib.Path(folder).glob(f'*/**/{_PREDICTIONS}')):
    found: dict[str, list[bool]] = {}
    for line in path.read_text().splitlines():
      said = json.loads(line)
      found.setdefault(said['task'], []).append(said['correct'])
    tasks = tasks or sorted(found)
    assert sorted(found) == tasks, path
    variant = path.relative_to(folder).parts[0]
    seed = path.parts[-3].partition('seed_')[2]
    runs.append((variant, seed))
    rows.append([found[task] for task in tasks])
  correct = np.array(rows)
  np.savez_compressed(
    to,
    runs=np.array(runs),
    tasks=np.array(tasks),
    examples=correct.shape[-1],
    correct=np.packbits(correct, axis=-1),
  )
  print(f'{to}: {len(runs)} runs, {len(tasks or ())} tasks, {correct.shape}')


if __name__ == '__main__':
  main(*sys.argv[1:])
