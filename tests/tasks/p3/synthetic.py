"""Writes parquet files in the layout of P3's data set repository."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
from pyarrow import parquet

_IDS = pyarrow.list_(pyarrow.int32())
TYPES = {
  'answer_choices': pyarrow.list_(pyarrow.string()),
  'idx': _IDS,
  'inputs': _IDS,
  'inputs_pretokenized': pyarrow.string(),
  'is_correct': pyarrow.bool_(),
  'targets': _IDS,
  'targets_pretokenized': pyarrow.string(),
  'weight': pyarrow.float32(),
}


def write_parquet(
  folder,
  task: str,
  split: str,
  rows: Sequence[Mapping[str, Any]],
  num_files: int = 1,
) -> list[pathlib.Path]:
  """Writes `<folder>/<task>/<split>-0000i-of-0000n.parquet`; rows in order.

  Columns are those of the first row; all there are where there is none.
  """
  path = pathlib.Path(folder) / task
  path.mkdir(parents=True, exist_ok=True)
  names = [name for name in TYPES if not rows or name in rows[0]]
  schema = pyarrow.schema([(name, TYPES[name]) for name in names])
  size = -(-len(rows) // num_files)
  files = []
  for i in range(num_files):
    part = [
      {name: row[name] for name in names}
      for row in rows[i * size : (i + 1) * size]
    ]
    file = path / f'{split}-{i:05d}-of-{num_files:05d}.parquet'
    # Small row groups, so that files have several.
    parquet.write_table(
      pyarrow.Table.from_pylist(part, schema), file, row_group_size=4
    )
    files.append(file)
  return files
