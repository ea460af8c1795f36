"""Makes tables of what `gpu.sh` measured.

  python -m tests.benchmarks.gpu_table FOLDER

MFU is the operations of a step, as XLA counts them, over its time and over what
the same device reaches in one large product of bfloat16 matrices.
"""

import json
import pathlib
import sys
from typing import Any

from moe_lite.core import tables


def main(argv: list[str]) -> None:
  (folder,) = map(pathlib.Path, argv[1:])
  rate = float('nan')
  for line in read(folder / 'matmul_rate.jsonl'):
    rate = line['tflop_a_second']
    print(f'{line["device"]}: {rate} TFLOP/s of bfloat16.\n')
  print_table(
    ('method', 'type', 'loss', 'gradient'),
    [
      (x['method'], x['dtype'], f'{x["loss"]:.1e}', f'{x["gradient"]:.1e}')
      for x in read(folder / 'agreement.jsonl')
    ],
  )
  for path in sorted(folder.glob('train_*.jsonl')):
    lines = read(path)
    sizes = lines[0]['sizes'] if lines else 'nothing measured'
    print(f'{path.stem}: {sizes}\n')
    print_table(
      ('library', 'method', 'ms', 'over PEFT', 'MFU, %', 'scratch MiB'),
      [
        (
          x['library'],
          x['method'],
          f'{x["median_ms"]:.1f}',
          str(x.get('over_peer', '')),
          mfu(x, rate),
          str(x.get('temporary_mib', '')),
        )
        for x in lines
      ],
    )
  print((folder / 'decoding.jsonl').read_text())


def mfu(line: dict[str, Any], rate: float) -> str:
  if 'gflop' not in line or not line['median_ms']:
    return ''
  return f'{100 * line["gflop"] / line["median_ms"] / rate:.1f}'


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  return [json.loads(line) for line in path.read_text().splitlines() if line]


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
  print(tables.table(head, rows) + '\n')


if __name__ == '__main__':
  main(sys.argv)
