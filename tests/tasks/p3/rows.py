"""Rows that look like P3's: same columns and types, small and seeded.

What they say is of this kind: "red green : which is number 1 ?" "green". Ids
are not T5's, whose vocabulary is not at hand, but one number a word.
"""

import random
import zlib
from typing import Any

import numpy as np

from moe_lite.data import catalog
from tasks import cached
from tasks.p3 import source, table

_WORDS = ('red', 'green', 'blue', 'black', 'white', 'brown')
_EOS = 1


def ids(text: str) -> np.ndarray:
  """One id a word."""
  words = text.split()
  return np.array(
    [3 + zlib.crc32(w.encode()) % 32_000 for w in words], np.int32
  )


def rows(name: str, split: str, number: int) -> list[dict[str, Any]]:
  """Rows of a task, or all rows of `number` examples of a twin."""
  prompt = table.lookup(name)
  rng = random.Random(f'{prompt.task}/{split}')
  found = []
  for i in range(number):
    choices = list(prompt.choices) or rng.sample(_WORDS, 2 + i % 2)
    place = rng.randrange(len(choices))
    inputs = f'{" ".join(choices)} : which is number {place} ?'
    if not name.endswith(catalog.SCORE_EVAL):
      row = _row(inputs, f'\n{choices[place]}')
      if prompt.published_choices:
        row['answer_choices'] = choices
      found.append(row)
      continue
    for j, choice in enumerate(choices):
      found.append(
        {
          **_row(inputs, choice),
          'idx': np.array([i, j], np.int32),
          'is_correct': j == place,
          'weight': np.float32(1),
        }
      )
  return found


def write_cache(folder, name: str, sizes: dict[str, int]) -> None:
  """Writes a task as a SeqIO cache, in the layout of P3's older revisions."""
  path = folder / name
  path.mkdir(parents=True)
  spec = cached.features(source.signature(name))
  for split, number in sizes.items():
    stats = cached.write_shard(path, split, rows(name, split, number))
    cached.finish_split(path, split, spec, [stats])
  cached.complete(path)


def _row(inputs: str, target: str) -> dict[str, Any]:
  return {
    'inputs': ids(inputs),
    'inputs_pretokenized': inputs,
    'targets': np.append(ids(target), np.int32(_EOS)),
    'targets_pretokenized': target,
  }
